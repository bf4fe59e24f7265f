# Published: top-1 86.8 (arXiv 2301.00808, table 13)
_base_ = './convnextv2_n_fcmae_ft_in22k_in1k_90e.py'

max_epochs = 30
lr = 2.5e-5 * 512 / 256
model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.2,
        init_cfg=dict(checkpoint='work_dirs/convnextv2_b_fcmae_ft_in22k_90e/epoch_90.pth'),
    ),
)
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1e-6 / lr,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    )
]
optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.8, decay_type='layer_wise'))
