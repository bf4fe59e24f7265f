_base_ = './mask_rcnn_convnextv2_t_3x.py'

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.6,  # ours: it grows with the size, as in the V1 recipes
        init_cfg=dict(checkpoint='convnextv2_large.fcmae_ft_in1k'),
    ),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
