# ConvNeXt's recipe: ours, no published number. Noisy Student: arXiv 1911.04252
_base_ = './upernet_efficientnet_b0_160k.py'

model = dict(
    backbone=dict(
        model_name='tf_efficientnet_b0.ns_jft_in1k',
        init_cfg=dict(checkpoint='hf-hub:timm/tf_efficientnet_b0.ns_jft_in1k'),
    )
)
