_base_ = './convnextv2_n_fcmae_ft_in22k_90e.py'

model = dict(
    backbone=dict(arch='tiny', drop_path_rate=0.0, init_cfg=dict(checkpoint='convnextv2_tiny.fcmae')),
)
