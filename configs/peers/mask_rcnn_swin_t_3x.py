# ConvNeXt's recipe: ours, no published number
_base_ = '../_base_/recipes/mask_rcnn_convnext.py'

model = dict(
    backbone=dict(
        model_name='swin_tiny_patch4_window7_224.ms_in1k',
        init_cfg=dict(type='Pretrained', checkpoint='hf-hub:timm/swin_tiny_patch4_window7_224.ms_in1k'),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
