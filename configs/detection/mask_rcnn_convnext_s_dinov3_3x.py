_base_ = './mask_rcnn_convnext_t_3x.py'

model = dict(
    backbone=dict(
        arch='small',
        drop_path_rate=0.6,  # that of the Cascade Mask R-CNN of this size
        init_cfg=dict(checkpoint='convnext_small.dinov3_lvd1689m'),
    ),
)
