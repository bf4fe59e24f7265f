# The recipe of mask_rcnn_convnext_t_3x for data that has boxes only; no figure is published for it
_base_ = [
    '../_base_/models/faster_rcnn_convnext.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/adamw_3x.py',
    '../_base_/detection_runtime.py',
]

model = dict(backbone=dict(init_cfg=dict(type='ConvNeXtPretrained', checkpoint='convnext_tiny.in1k')))
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(decay_rate=0.95, decay_type='layer_wise'))
