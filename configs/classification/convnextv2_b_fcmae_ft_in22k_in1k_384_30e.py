# ConvNeXt V2-B at 384 pixels. Published: top-1 87.7 (arXiv 2301.00808, table 13)
_base_ = ['../_base_/recipes/convnextv2_fcmae_in22k_in1k.py', '../_base_/datasets/imagenet_384.py']

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.2,
        init_cfg=dict(checkpoint='work_dirs/convnextv2_b_fcmae_ft_in22k_90e/epoch_90.pth'),
    ),
)
optim_wrapper = dict(accumulative_counts=2)  # 8 GPUs x 32 images x 2 steps
