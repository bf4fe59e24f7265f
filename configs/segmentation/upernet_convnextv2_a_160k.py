_base_ = './upernet_convnextv2_t_160k.py'

model = dict(
    backbone=dict(
        arch='atto',
        drop_path_rate=0.1,  # ours: a small net needs little regularization
        init_cfg=dict(checkpoint='convnextv2_atto.fcmae_ft_in1k'),
    ),
    decode_head=dict(in_channels=[40, 80, 160, 320]),
    auxiliary_head=dict(in_channels=160),
)
