# ConvNeXt, arXiv 2201.03545, table 4: mIoU 52.6 single-scale, 53.1 multi-scale;
# 122 M parameters, 1828 G MACs at 2560x640
_base_ = [
    '../_base_/models/upernet_convnext.py',
    '../_base_/datasets/ade20k_640.py',
    '../_base_/schedules/adamw_160k.py',
    '../_base_/segmentation_runtime.py',
]

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(arch='base', init_cfg=dict(type='ConvNeXtPretrained', checkpoint='convnext_base.in22k')),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(426, 426)),
)
