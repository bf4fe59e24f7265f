# Published: top-1 88.7 (arXiv 2301.00808, table 13). No averaged weights, unlike the other sizes
_base_ = './convnextv2_b_fcmae_ft_in22k_in1k_384_30e.py'

model = dict(
    backbone=dict(
        arch='huge',
        drop_path_rate=0.5,
        init_cfg=dict(checkpoint='work_dirs/convnextv2_h_fcmae_ft_in22k_90e/epoch_90.pth'),
    ),
)
optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.85))
custom_hooks = [dict(type='SkippedImagesHook')]
