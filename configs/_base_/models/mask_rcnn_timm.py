# A network of timm in place of ConvNeXt. A config names it, its weights, and the channels of its four stages
_base_ = './mask_rcnn_convnext.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TimmFeatures',
        drop_path_rate=0.4,
        # One choice for all networks that have BatchNorm: its statistics stay those of the pre-training
        norm_cfg=dict(type='BN'),
        norm_eval=True,
        decay_layers=6,
    )
)
