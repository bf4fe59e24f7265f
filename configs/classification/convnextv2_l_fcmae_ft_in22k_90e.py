_base_ = './convnextv2_b_fcmae_ft_in22k_90e.py'

model = dict(backbone=dict(arch='large', init_cfg=dict(checkpoint='convnextv2_large.fcmae')))
