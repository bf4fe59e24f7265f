# Ours: DINOv3 weights under the UperNet recipe of V1-B, its drop path of 0.4 included; no figure is published for it
_base_ = './upernet_convnext_b_160k.py'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='convnext_base.dinov3_lvd1689m')),
)
