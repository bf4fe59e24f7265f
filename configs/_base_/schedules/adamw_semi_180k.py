# SoftTeacher's 180 000 steps on 10 % of COCO's labels, with ConvNeXt's optimizer
train_cfg = dict(type='IterBasedTrainLoop', max_iters=180000, val_interval=5000)
# Both the student and the teacher are evaluated
val_cfg = dict(type='TeacherStudentValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=180000, milestones=[120000, 160000], gamma=0.1),
]
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=0.95, decay_type='layer_wise'),
)
# 8 GPUs x (1 labelled + 4 unlabelled images)
auto_scale_lr = dict(enable=False, base_batch_size=40)
