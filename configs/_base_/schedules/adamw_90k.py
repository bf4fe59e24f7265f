# 90,000 steps, of which the rate drops tenfold after 3/4 and after 11/12, as in 36 epochs. Counted in steps, since the
# numbers of labelled and unlabelled images differ. On 10 % of COCO's labels 90,000 steps of 16 images are 123 epochs,
# as many as in 180,000 steps of 8 labelled images, with which SoftTeacher's supervised baseline is trained
train_cfg = dict(type='IterBasedTrainLoop', max_iters=90000, val_interval=9000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=90000, milestones=[67500, 82500], gamma=0.1),
]
optim_wrapper = dict(
    type='AmpOptimWrapper',
    # fused updates all tensors in one pass: the same numbers, sooner
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    constructor='LayerDecayOptimWrapperConstructor',
)
# The learning rates are for 16 images a step: 8 GPUs x 2 images
auto_scale_lr = dict(enable=False, base_batch_size=16)
