# ConvNeXt V2-N after FCMAE and ImageNet-22K, fine-tuned on ImageNet-1K at 384 pixels (arXiv 2301.00808,
# table 13). Published: top-1 83.4. The authors did not release the weights in between: the config of ImageNet-22K
# gives them
_base_ = [
    '../_base_/models/convnext_classifier.py',
    '../_base_/datasets/imagenet_384.py',
    '../_base_/schedules/imagenet_finetune_30e.py',
    '../_base_/classification_runtime.py',
]

max_epochs = 90
lr = 2.5e-5 * 512 / 256
model = dict(
    backbone=dict(
        version=2,
        arch='nano',
        drop_path_rate=0.1,
        head_init_scale=0.001,
        init_cfg=dict(type='ConvNeXtPretrained', checkpoint='work_dirs/convnextv2_n_fcmae_ft_in22k_90e/epoch_90.pth'),
    ),
)
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1e-6 / lr,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    )
]
optim_wrapper = dict(
    type='AmpOptimWrapper',
    accumulative_counts=2,  # 8 GPUs x 32 images x 2 steps
    optimizer=dict(lr=lr),
    paramwise_cfg=dict(decay_rate=0.9, decay_type='single'),
)
custom_hooks = [dict(type='StepEMAHook', momentum=1e-4), dict(type='SkippedImagesHook')]
default_hooks = dict(checkpoint=dict(save_best='top-1', rule='greater'))
