_base_ = './fcmae_convnextv2_tiny_1600e.py'

model = dict(backbone=dict(arch='nano'))
