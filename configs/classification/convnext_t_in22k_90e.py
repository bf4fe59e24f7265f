# ConvNeXt-T on ImageNet-22K from random weights (arXiv 2201.03545, table 5)
_base_ = [
    '../_base_/models/convnext_classifier.py',
    '../_base_/datasets/imagenet22k.py',
    '../_base_/schedules/imagenet22k_90e.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(num_classes=21841),
    mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5, mode='batch'),
)
