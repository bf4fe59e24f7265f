_base_ = './convnext_t_in22k_90e.py'

model = dict(backbone=dict(arch='small'))
