# ConvNeXt-B trained on ImageNet-1K at 224 pixels, fine-tuned at 384 (arXiv 2201.03545, tables 1 and 6). Published:
# top-1 85.1. The head is the one that was trained
_base_ = [
    '../_base_/models/convnext_classifier.py',
    '../_base_/datasets/imagenet_384.py',
    '../_base_/schedules/imagenet_finetune_30e.py',
    '../_base_/classification_runtime.py',
]

model = dict(backbone=dict(arch='base', drop_path_rate=0.8, head_init_scale=0.001))
load_from = 'convnext_base.in1k'
optim_wrapper = dict(accumulative_counts=2, paramwise_cfg=dict(decay_rate=0.7))  # 8 GPUs x 32 images x 2 steps
default_hooks = dict(checkpoint=dict(save_best='top-1', rule='greater'))
