_base_ = './upernet_convnext_b_160k.py'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='convnext_base.dinov3_lvd1689m')),
)
