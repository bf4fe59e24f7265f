_base_ = './mask_rcnn_convnextv2_t_3x.py'

model = dict(
    backbone=dict(
        arch='huge',
        drop_path_rate=0.7,  # ours: it grows with the size, as in the V1 recipes
        init_cfg=dict(checkpoint='convnextv2_huge.fcmae_ft_in1k'),
    ),
    neck=dict(in_channels=[352, 704, 1408, 2816]),
)
