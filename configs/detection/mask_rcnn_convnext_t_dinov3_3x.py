# Ours: DINOv3 weights under the Mask R-CNN recipe of V1-T, drop path included; no figure is published for it.
# The files are given out on request: see docs/checkpoints.md
_base_ = './mask_rcnn_convnext_t_3x.py'

model = dict(
    backbone=dict(
        init_cfg=dict(checkpoint='convnext_tiny.dinov3_lvd1689m'),
    ),
)
