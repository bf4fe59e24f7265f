# FCMAE of ConvNeXt V2 (arXiv 2301.00808). Published: fine-tuned on ImageNet-1K, ConvNeXt V2-T reaches 83.0 % top-1
_base_ = [
    '../_base_/models/fcmae.py',
    '../_base_/datasets/imagenet_unlabelled.py',
    '../_base_/schedules/fcmae_1600e.py',
    '../_base_/pretraining_runtime.py',
]
