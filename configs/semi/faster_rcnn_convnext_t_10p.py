# The labels alone: what SoftTeacher and Meta Pseudo Labels are compared with, and a detector that both can start from
# (--cfg-options load_from=CHECKPOINT). 5 labelled images a step, for as many steps
_base_ = [
    '../_base_/models/faster_rcnn_convnext.py',
    '../_base_/datasets/semi_coco_detection_10p.py',
    '../_base_/detection_steps_runtime.py',
    '../_base_/schedules/adamw_semi_180k.py',
]

model = dict(backbone=dict(init_cfg=dict(type='ConvNeXtPretrained', checkpoint='convnext_tiny.in1k')))
labelled = _base_.train_dataloader.dataset.datasets[0]
labelled.pipeline[-1] = dict(type='PackDetInputs')
train_dataloader = dict(
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(_delete_=True, **labelled),
)
val_cfg = dict(_delete_=True, type='ValLoop')
