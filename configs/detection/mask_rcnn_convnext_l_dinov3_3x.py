_base_ = './mask_rcnn_convnext_t_3x.py'

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.7,  # that of the Cascade Mask R-CNN of this size
        init_cfg=dict(checkpoint='convnext_large.dinov3_lvd1689m'),
    ),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
