# Ours: DINOv3 weights under the UperNet recipe of V1-S, its drop path of 0.3 included; no figure is published for it
_base_ = './upernet_convnext_s_160k.py'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='convnext_small.dinov3_lvd1689m')),
)
