# ConvNeXt's recipe: ours, no published number
_base_ = '../_base_/recipes/mask_rcnn_convnext.py'

model = dict(
    backbone=dict(
        model_name='tf_efficientnet_b0.aa_in1k',
        drop_path_rate=0.1,  # ours: a small net needs little regularization, as ConvNeXt V2 atto
        init_cfg=dict(type='Pretrained', checkpoint='hf-hub:timm/tf_efficientnet_b0.aa_in1k'),
    ),
    neck=dict(in_channels=[24, 40, 112, 320]),
)
