# UperNet with a network of the road from ResNet to ConvNeXt, by the recipe of ConvNeXt-T. For another step add
# --cfg-options model.backbone.step=kernel_7; tools/train.py gives the heads its channels. No weights of the steps were
# published, and so no mIoU: train each on ImageNet first, and give the file with --pretrained
_base_ = [
    '../_base_/models/upernet_convnext.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/adamw_160k.py',
    '../_base_/segmentation_runtime.py',
]

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(
        _delete_=True,
        type='ConvNeXtRoad',
        step='convnext',
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,  # of the last step alone
        norm_cfg=dict(type='SyncBN'),  # 2 images are too few for the statistics of a BatchNorm
    ),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(341, 341)),
)
