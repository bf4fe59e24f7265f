# 300 epochs with batches of 4096, 8 GPUs x 128 images x 4 accumulated steps (arXiv 2201.03545, table 5; main.py of the
# authors' code). The authors train in float32
max_epochs = 300
warmup_epochs = 20
lr = 4e-3
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=True, begin=0, end=warmup_epochs, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1e-6 / lr,
        by_epoch=True,
        begin=warmup_epochs,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
optim_wrapper = dict(
    type='OptimWrapper',
    accumulative_counts=4,
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=1.0),  # one rate for all layers
)
auto_scale_lr = dict(enable=False, base_batch_size=4096)
