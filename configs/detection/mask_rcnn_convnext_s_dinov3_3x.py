# Ours: DINOv3 weights under the Mask R-CNN recipe of V1-T, the only size that has one; no figure is published for it
_base_ = './mask_rcnn_convnext_t_3x.py'

model = dict(
    backbone=dict(
        arch='small',
        drop_path_rate=0.6,  # ours: that of V1's Cascade Mask R-CNN of this size
        init_cfg=dict(checkpoint='convnext_small.dinov3_lvd1689m'),
    ),
)
