# ConvNeXt, arXiv 2201.03545, table 3: box AP 50.4, mask AP 43.7; 86 M parameters, 741 G MACs at 1280x800
_base_ = [
    '../_base_/models/cascade_mask_rcnn_convnext.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/adamw_3x.py',
    '../_base_/detection_runtime.py',
]

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='ConvNeXtPretrained',
            checkpoint='convnext_tiny.in1k',
        )
    )
)
optim_wrapper = dict(optimizer=dict(lr=2e-4), paramwise_cfg=dict(decay_rate=0.7, decay_type='layer_wise'))
