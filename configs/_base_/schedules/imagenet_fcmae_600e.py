# Fine-tuning after FCMAE, 600 epochs with batches of 1024, 8 GPUs x 128 images, and no warm-up (arXiv 2301.00808, table
# 9; main_finetune.py and TRAINING.md of the authors' code, whose commands use mixed precision)
max_epochs = 600
lr = 2e-4 * 1024 / 256
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1e-6 / lr,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    )
]
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=0.3, fused=True),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=0.9, decay_type='single'),
)
auto_scale_lr = dict(enable=False, base_batch_size=1024)
