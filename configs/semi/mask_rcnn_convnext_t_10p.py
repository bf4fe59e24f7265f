# Mask R-CNN on a tenth of COCO's labels, without the other images: what learning from those is compared with, and the
# first teacher of noisy_student_mask_rcnn_convnext_t_10p. tools/split_labels.py makes the tenth
_base_ = [
    '../_base_/models/mask_rcnn_convnext.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/detection_steps_runtime.py',
    '../_base_/schedules/adamw_90k.py',
]

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='ConvNeXtPretrained',
            checkpoint='convnext_tiny.in1k',
        )
    )
)
train_dataloader = dict(
    # Where a sampler ends, MMEngine's loop by steps sleeps for two seconds before it starts the sampler anew
    sampler=dict(type='InfiniteSampler'),
    dataset=dict(ann_file='semi_anns/instances_train2017.1@10.json'),
)
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(decay_rate=0.95, decay_type='layer_wise'))
