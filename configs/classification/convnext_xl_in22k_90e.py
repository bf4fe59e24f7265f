_base_ = './convnext_t_in22k_90e.py'

model = dict(backbone=dict(arch='xlarge', drop_path_rate=0.2))
