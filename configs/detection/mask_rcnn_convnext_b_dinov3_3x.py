_base_ = './mask_rcnn_convnext_t_3x.py'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.7,  # that of the Cascade Mask R-CNN of this size
        init_cfg=dict(checkpoint='convnext_base.dinov3_lvd1689m'),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
