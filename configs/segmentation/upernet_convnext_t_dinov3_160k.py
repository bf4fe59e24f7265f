# Ours: DINOv3 weights under the UperNet recipe of V1-T, drop path included; no figure is published for it.
# The files are given out on request: see docs/checkpoints.md
_base_ = './upernet_convnext_t_160k.py'

model = dict(
    backbone=dict(init_cfg=dict(checkpoint='convnext_tiny.dinov3_lvd1689m')),
)
