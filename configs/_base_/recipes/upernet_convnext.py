# What upernet_convnext_t_160k does with its ConvNeXt, for another backbone
_base_ = [
    '../models/upernet_timm.py',
    '../datasets/ade20k.py',
    '../schedules/adamw_160k.py',
    '../segmentation_runtime.py',
]

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(341, 341)),
)
