# ConvNeXt V2-T after FCMAE (arXiv 2301.00808, table 10; TRAINING.md of the authors' code). Published: top-1 83.0
_base_ = './convnextv2_a_fcmae_ft_in1k_600e.py'

max_epochs = 300
warmup_epochs = 40
lr = 8e-4 * 1024 / 256
train_cfg = dict(max_epochs=max_epochs)
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
model = dict(
    backbone=dict(arch='tiny', drop_path_rate=0.2, init_cfg=dict(checkpoint='convnextv2_tiny.fcmae')),
    mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5, mode='batch'),
    label_smoothing=0.1,
)
optim_wrapper = dict(optimizer=dict(lr=lr, weight_decay=0.05))
