# ConvNeXt's recipe: ours, no published number
_base_ = '../_base_/recipes/upernet_convnext.py'

model = dict(
    # BiT's weights are for images from -1 to 1
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(
        model_name='resnetv2_50x1_bit.goog_in21k_ft_in1k',
        init_cfg=dict(type='Pretrained', checkpoint='hf-hub:timm/resnetv2_50x1_bit.goog_in21k_ft_in1k'),
    ),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
    auxiliary_head=dict(in_channels=1024),
)
