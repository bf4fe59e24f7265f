_base_ = './upernet_convnext_s_160k.py'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='convnext_small.dinov3_lvd1689m')),
)
