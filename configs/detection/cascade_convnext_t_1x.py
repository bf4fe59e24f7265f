# Ours: a third of the paper's schedule, for a first look; no figure is published for it
_base_ = './cascade_convnext_t_3x.py'

train_cfg = dict(max_epochs=12)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1),  # MMDetection's 1x
]
