# Ours: DINOv3 weights under the Mask R-CNN recipe of V1-T, the only size that has one; no figure is published for it
_base_ = './mask_rcnn_convnext_t_3x.py'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.7,  # ours: that of V1's Cascade Mask R-CNN of this size
        init_cfg=dict(checkpoint='convnext_base.dinov3_lvd1689m'),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
