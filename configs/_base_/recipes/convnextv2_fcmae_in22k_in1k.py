# ConvNeXt V2 after FCMAE and ImageNet-22K, fine-tuned on ImageNet-1K (arXiv 2301.00808, table 13). The authors did not
# release the weights in between: the configs of ImageNet-22K give them
_base_ = [
    '../models/convnext_classifier.py',
    '../schedules/imagenet_finetune_30e.py',
    '../classification_runtime.py',
]

model = dict(backbone=dict(version=2, head_init_scale=0.001, init_cfg=dict(type='ConvNeXtPretrained')))
optim_wrapper = dict(type='AmpOptimWrapper')
custom_hooks = [dict(type='StepEMAHook', momentum=1e-4), dict(type='SkippedImagesHook')]
default_hooks = dict(checkpoint=dict(save_best='top-1', rule='greater'))
