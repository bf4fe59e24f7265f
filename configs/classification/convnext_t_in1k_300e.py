# ConvNeXt-T on ImageNet-1K from random weights (arXiv 2201.03545, tables 1 and 5). Published: top-1 82.1
_base_ = [
    '../_base_/models/convnext_classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_300e.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(drop_path_rate=0.1),
    mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5, mode='batch'),
)
custom_hooks = [dict(type='StepEMAHook', momentum=1e-4), dict(type='SkippedImagesHook')]
default_hooks = dict(checkpoint=dict(save_best='top-1', rule='greater'))
