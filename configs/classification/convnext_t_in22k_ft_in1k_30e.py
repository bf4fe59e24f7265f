# ConvNeXt-T trained on ImageNet-22K, fine-tuned on ImageNet-1K (arXiv 2201.03545, table 6; the authors' README).
# Published: top-1 82.9. The authors' code has learning-rate layers for 27 blocks in stage 3 alone, and no
# command for tiny; here it has the 6 layers of its detectors
_base_ = [
    '../_base_/models/convnext_classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_finetune_30e.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(head_init_scale=0.001, init_cfg=dict(type='ConvNeXtPretrained', checkpoint='convnext_tiny.in22k'))
)
train_dataloader = dict(batch_size=64)  # x 8 GPUs
default_hooks = dict(checkpoint=dict(save_best='top-1', rule='greater'))
