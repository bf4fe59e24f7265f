# ConvNeXt-T on ImageNet-22K from random weights: 90 epochs, 5 of them warm-up (arXiv 2201.03545, table 5)
_base_ = [
    '../_base_/models/convnext_classifier.py',
    '../_base_/datasets/imagenet22k.py',
    '../_base_/schedules/imagenet_300e.py',
    '../_base_/classification_runtime.py',
]

max_epochs = 90
warmup_epochs = 5
model = dict(
    backbone=dict(num_classes=21841),
    mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5, mode='batch'),
)
train_cfg = dict(max_epochs=max_epochs)
val_cfg = None
test_cfg = None
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=True, begin=0, end=warmup_epochs, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1e-6 / 4e-3,
        by_epoch=True,
        begin=warmup_epochs,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
