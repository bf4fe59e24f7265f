# The labels alone: what SoftTeacher and Meta Pseudo Labels are compared with, and a detector that both can start from
# (--cfg-options load_from=CHECKPOINT). 5 labelled images a step, for as many steps
_base_ = [
    '../_base_/models/faster_rcnn_convnext.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/detection_runtime.py',
    '../_base_/schedules/adamw_semi_180k.py',
]

model = dict(backbone=dict(init_cfg=dict(type='ConvNeXtPretrained', checkpoint='convnext_tiny.in1k')))
train_dataloader = dict(
    batch_size=5,
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset=dict(ann_file='semi_anns/instances_train2017.1@10.json'),
)
val_cfg = dict(type='ValLoop', _delete_=True)
