# Published: top-1 88.9 (arXiv 2301.00808, table 13)
_base_ = './convnextv2_h_fcmae_ft_in22k_in1k_384_30e.py'

optim_wrapper = dict(accumulative_counts=4)  # 8 GPUs x 16 images x 4 steps
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        pipeline=[
            dict(type='LoadPILImage'),
            dict(
                type='TimmTransform',
                input_size=512,
                is_training=True,
                interpolation='bicubic',
                auto_augment='rand-m9-mstd0.5-inc1',
                re_prob=0.25,
                re_mode='pixel',
                re_count=1,
            ),
            dict(type='PackImageAndClass'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=32,
    dataset=dict(
        pipeline=[
            dict(type='LoadPILImage'),
            dict(type='TimmTransform', input_size=512, crop_pct=1.0, crop_mode='squash', interpolation='bicubic'),
            dict(type='PackImageAndClass'),
        ],
    ),
)
test_dataloader = val_dataloader
