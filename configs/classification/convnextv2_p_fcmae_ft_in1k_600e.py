# Published: top-1 80.3 (arXiv 2301.00808, table 9)
_base_ = './convnextv2_a_fcmae_ft_in1k_600e.py'

model = dict(
    backbone=dict(arch='pico', drop_path_rate=0.0, init_cfg=dict(checkpoint='convnextv2_pico.fcmae')),
    mixup=dict(mixup_alpha=0.3, cutmix_alpha=0.3, prob=1.0, switch_prob=0.5, mode='batch'),
)
