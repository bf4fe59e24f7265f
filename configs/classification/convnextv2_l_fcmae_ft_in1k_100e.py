# Published: top-1 85.8 (arXiv 2301.00808, table 11)
_base_ = './convnextv2_b_fcmae_ft_in1k_100e.py'

model = dict(
    backbone=dict(arch='large', drop_path_rate=0.2, init_cfg=dict(checkpoint='convnextv2_large.fcmae')),
)
