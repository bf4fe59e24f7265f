# DINO with four scales, 12 epochs: the settings of arXiv 2203.03605, but for the images, which are prepared as in the
# V1 recipes, and for what is marked ours; no figure is published for it
_base_ = [
    '../_base_/models/dino_convnext.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/adamw_3x.py',
    '../_base_/detection_runtime.py',
]
custom_imports = dict(imports=['mmconvnext', 'mmconvnext.detectors'])

# Ours: the larger set, as DINO's Swin-L starts from it
model = dict(backbone=dict(init_cfg=dict(type='ConvNeXtPretrained', checkpoint='convnext_tiny.in22k')))
# DETRs train on images without objects too
train_dataloader = dict(dataset=dict(filter_cfg=dict(filter_empty_gt=False)))
train_cfg = dict(max_epochs=12)
param_scheduler = [
    # Ours: DINO has no warm-up, every V1 recipe has this one
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[11], gamma=0.1),
]
optim_wrapper = dict(
    type='OptimWrapper',  # deformable attention loses accuracy in float16
    optimizer=dict(lr=1e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=0.1, norm_type=2),
    # Ours: as V1's recipes do it, in place of a tenth of the rate for the whole backbone and weight decay of everything
    paramwise_cfg=dict(decay_rate=0.9, decay_type='layer_wise'),
)
