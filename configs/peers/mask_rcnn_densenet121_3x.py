# ConvNeXt's recipe: ours, no published number
_base_ = '../_base_/recipes/mask_rcnn_convnext.py'

model = dict(
    backbone=dict(
        model_name='densenet121.ra_in1k',
        drop_path_rate=0.0,  # timm's DenseNet has no stochastic depth
        init_cfg=dict(type='Pretrained', checkpoint='hf-hub:timm/densenet121.ra_in1k'),
    ),
    neck=dict(in_channels=[256, 512, 1024, 1024]),
)
