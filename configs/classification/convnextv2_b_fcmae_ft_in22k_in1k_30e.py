# ConvNeXt V2-B. Published: top-1 86.8 (arXiv 2301.00808, table 13)
_base_ = ['../_base_/recipes/convnextv2_fcmae_in22k_in1k.py', '../_base_/datasets/imagenet.py']

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.2,
        init_cfg=dict(checkpoint='work_dirs/convnextv2_b_fcmae_ft_in22k_90e/epoch_90.pth'),
    ),
)
train_dataloader = dict(batch_size=64)  # x 8 GPUs
