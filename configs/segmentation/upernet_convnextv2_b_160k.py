_base_ = './upernet_convnextv2_t_160k.py'

model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(checkpoint='convnextv2_base.fcmae_ft_in1k'),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
