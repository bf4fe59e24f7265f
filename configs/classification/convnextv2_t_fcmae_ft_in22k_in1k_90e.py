# Published: top-1 83.9 (arXiv 2301.00808, table 13)
_base_ = './convnextv2_n_fcmae_ft_in22k_in1k_90e.py'

model = dict(
    backbone=dict(arch='tiny', init_cfg=dict(checkpoint='work_dirs/convnextv2_t_fcmae_ft_in22k_90e/epoch_90.pth')),
)
