_base_ = './convnextv2_n_fcmae_ft_in22k_90e.py'

model = dict(
    backbone=dict(arch='huge', drop_path_rate=0.3, init_cfg=dict(checkpoint='convnextv2_huge.fcmae')),
)
train_dataloader = dict(batch_size=32)
optim_wrapper = dict(
    accumulative_counts=16,  # 8 GPUs x 32 images x 16 steps
    paramwise_cfg=dict(decay_rate=0.8, decay_type='layer_wise'),
)
