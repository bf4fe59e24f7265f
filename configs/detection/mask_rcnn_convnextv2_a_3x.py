_base_ = './mask_rcnn_convnextv2_t_3x.py'

model = dict(
    backbone=dict(
        arch='atto',
        drop_path_rate=0.1,  # ours: a small net needs little regularization
        init_cfg=dict(checkpoint='convnextv2_atto.fcmae_ft_in1k'),
    ),
    neck=dict(in_channels=[40, 80, 160, 320]),
)
