# ConvNeXt's recipe: ours, no published number
_base_ = '../_base_/recipes/upernet_convnext.py'

model = dict(
    backbone=dict(
        model_name='resnet50.a1_in1k',
        init_cfg=dict(type='Pretrained', checkpoint='hf-hub:timm/resnet50.a1_in1k'),
    ),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
    auxiliary_head=dict(in_channels=1024),
)
