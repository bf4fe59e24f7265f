# ConvNeXt's recipe: ours, no published number
_base_ = '../_base_/recipes/upernet_convnext.py'

model = dict(
    backbone=dict(
        model_name='swin_base_patch4_window7_224.ms_in1k',
        decay_layers=12,
        init_cfg=dict(type='Pretrained', checkpoint='hf-hub:timm/swin_base_patch4_window7_224.ms_in1k'),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
