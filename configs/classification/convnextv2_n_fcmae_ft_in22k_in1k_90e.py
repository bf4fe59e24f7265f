# ConvNeXt V2-N. Published: top-1 82.1 (arXiv 2301.00808, table 13)
_base_ = ['../_base_/recipes/convnextv2_fcmae_in22k_in1k.py', '../_base_/datasets/imagenet.py']

max_epochs = 90
model = dict(
    backbone=dict(
        arch='nano',
        drop_path_rate=0.1,
        init_cfg=dict(checkpoint='work_dirs/convnextv2_n_fcmae_ft_in22k_90e/epoch_90.pth'),
    ),
)
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = max_epochs
train_dataloader = dict(batch_size=64)  # x 8 GPUs
optim_wrapper = dict(
    paramwise_cfg=dict(decay_rate=0.9, decay_type='single'),
)
