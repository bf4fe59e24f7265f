_base_ = './convnextv2_b_fcmae_ft_in22k_90e.py'

model = dict(backbone=dict(arch='huge', drop_path_rate=0.3, init_cfg=dict(checkpoint='convnextv2_huge.fcmae')))
