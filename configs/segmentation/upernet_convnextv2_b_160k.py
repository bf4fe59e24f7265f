# Ours: V1's UperNet recipe, with the drop path of 0.4 that V1-B has; no figure is published for it
_base_ = './upernet_convnextv2_t_160k.py'

model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(checkpoint='convnextv2_base.fcmae_ft_in1k'),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
