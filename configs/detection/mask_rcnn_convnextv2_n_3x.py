_base_ = './mask_rcnn_convnextv2_t_3x.py'

model = dict(
    backbone=dict(
        arch='nano',
        drop_path_rate=0.2,  # ours: between atto and tiny
        init_cfg=dict(checkpoint='convnextv2_nano.fcmae_ft_in1k'),
    ),
    neck=dict(in_channels=[80, 160, 320, 640]),
)
