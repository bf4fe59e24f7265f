# Published: top-1 81.9 (arXiv 2301.00808, table 9)
_base_ = './convnextv2_a_fcmae_ft_in1k_600e.py'

model = dict(
    backbone=dict(arch='nano', drop_path_rate=0.1, init_cfg=dict(checkpoint='convnextv2_nano.fcmae')),
    mixup=dict(mixup_alpha=0.5, cutmix_alpha=0.5, prob=1.0, switch_prob=0.5, mode='batch'),
)
