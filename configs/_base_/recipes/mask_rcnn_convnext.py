# What mask_rcnn_convnext_t_3x does with its ConvNeXt, for another backbone
_base_ = [
    '../models/mask_rcnn_timm.py',
    '../datasets/coco_instance.py',
    '../schedules/adamw_3x.py',
    '../detection_runtime.py',
]

optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(decay_rate=0.95, decay_type='layer_wise'))
