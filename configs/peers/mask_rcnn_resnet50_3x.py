# ConvNeXt's recipe: ours, no published number
_base_ = '../_base_/recipes/mask_rcnn_convnext.py'

model = dict(
    backbone=dict(
        model_name='resnet50.a1_in1k',
        init_cfg=dict(type='Pretrained', checkpoint='hf-hub:timm/resnet50.a1_in1k'),
    ),
    neck=dict(in_channels=[256, 512, 1024, 2048]),
)
