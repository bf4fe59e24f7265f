_base_ = './upernet_convnext_b_160k.py'

model = dict(
    backbone=dict(arch='large', init_cfg=dict(checkpoint='convnext_large.dinov3_lvd1689m')),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768),
)
