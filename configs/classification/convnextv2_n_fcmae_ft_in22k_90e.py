# ConvNeXt V2-N after FCMAE, fine-tuned on ImageNet-22K on the way to ImageNet-1K (arXiv 2301.00808, table 12)
_base_ = [
    '../_base_/models/convnext_classifier.py',
    '../_base_/datasets/imagenet22k.py',
    '../_base_/schedules/imagenet_300e.py',
    '../_base_/classification_runtime.py',
]

max_epochs = 90
warmup_epochs = 5
lr = 2.5e-4 * 4096 / 256
model = dict(
    backbone=dict(
        version=2,
        arch='nano',
        num_classes=21841,
        head_init_scale=0.001,
        init_cfg=dict(type='ConvNeXtPretrained', checkpoint='convnextv2_nano.fcmae'),
    ),
    mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5, mode='batch'),
)
train_cfg = dict(max_epochs=max_epochs)
val_cfg = None
test_cfg = None
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
    type='AmpOptimWrapper',
    optimizer=dict(lr=lr),
    paramwise_cfg=dict(decay_rate=0.9, decay_type='single'),
)
