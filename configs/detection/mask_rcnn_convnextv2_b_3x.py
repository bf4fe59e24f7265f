_base_ = './mask_rcnn_convnextv2_t_3x.py'

model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(checkpoint='convnextv2_base.fcmae_ft_in1k'),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
