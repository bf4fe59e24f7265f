# ConvNeXt's recipe: ours, no published number
_base_ = '../_base_/recipes/mask_rcnn_convnext.py'

model = dict(
    backbone=dict(
        model_name='tf_efficientnet_b3.aa_in1k',
        drop_path_rate=0.2,  # ours: as ConvNeXt V2 nano, which has about as many parameters
        init_cfg=dict(type='Pretrained', checkpoint='hf-hub:timm/tf_efficientnet_b3.aa_in1k'),
    ),
    neck=dict(in_channels=[32, 48, 136, 384]),
)
