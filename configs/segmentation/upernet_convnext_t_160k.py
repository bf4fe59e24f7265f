# ConvNeXt, arXiv 2201.03545, table 4: mIoU 46.0 single-scale, 46.7 multi-scale;
# 60 M parameters, 939 G MACs at 2048x512
_base_ = [
    '../_base_/models/upernet_convnext.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/adamw_160k.py',
    '../_base_/segmentation_runtime.py',
]

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(
        init_cfg=dict(
            type='ConvNeXtPretrained',
            checkpoint='convnext_tiny.in1k',
        )
    ),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(341, 341)),
)
