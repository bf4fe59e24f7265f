# ConvNeXt V2-A after FCMAE (arXiv 2301.00808, table 9; TRAINING.md of the authors' code). Published: top-1 76.7
_base_ = [
    '../_base_/models/convnext_classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_fcmae_600e.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(
        version=2,
        arch='atto',
        drop_path_rate=0.1,
        head_init_scale=0.001,
        init_cfg=dict(type='ConvNeXtPretrained', checkpoint='convnextv2_atto.fcmae'),
    ),
    label_smoothing=0.2,
)
custom_hooks = [dict(type='StepEMAHook', momentum=1e-4), dict(type='SkippedImagesHook')]
default_hooks = dict(checkpoint=dict(save_best='top-1', rule='greater'))
