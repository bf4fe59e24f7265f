# Published: top-1 88.2 (arXiv 2301.00808, table 13)
_base_ = './convnextv2_b_fcmae_ft_in22k_in1k_384_30e.py'

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.3,
        init_cfg=dict(checkpoint='work_dirs/convnextv2_l_fcmae_ft_in22k_90e/epoch_90.pth'),
    ),
)
