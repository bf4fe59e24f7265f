# ConvNeXt V2-N after FCMAE, fine-tuned on ImageNet-22K on the way to ImageNet-1K (arXiv 2301.00808, table 12)
_base_ = './convnext_t_in22k_90e.py'

model = dict(
    backbone=dict(
        version=2,
        arch='nano',
        head_init_scale=0.001,
        init_cfg=dict(type='ConvNeXtPretrained', checkpoint='convnextv2_nano.fcmae'),
    ),
)
optim_wrapper = dict(type='AmpOptimWrapper', paramwise_cfg=dict(decay_rate=0.9, decay_type='single'))
