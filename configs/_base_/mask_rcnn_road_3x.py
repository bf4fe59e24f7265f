# Mask R-CNN with a network of the road from ResNet to ConvNeXt, by the recipe of ConvNeXt-T. No weights of the steps
# were published, and so no AP: train each on ImageNet first, and give the file with --pretrained
_base_ = [
    './models/mask_rcnn_convnext.py',
    './datasets/coco_instance.py',
    './schedules/adamw_3x.py',
    './detection_runtime.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='ConvNeXtRoad',
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,  # of the last step alone
        norm_cfg=dict(type='SyncBN'),  # 2 images are too few for the statistics of a BatchNorm
    )
)
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(decay_rate=0.95, decay_type='layer_wise'))
