# From 384 pixels on the whole image is evaluated, its sides squashed to a square (datasets.py of the authors' code)
_base_ = './imagenet.py'

train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        pipeline=[
            dict(type='LoadPILImage'),
            dict(
                type='TimmTransform',
                input_size=384,
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
    batch_size=64,
    dataset=dict(
        pipeline=[
            dict(type='LoadPILImage'),
            dict(type='TimmTransform', input_size=384, crop_pct=1.0, crop_mode='squash', interpolation='bicubic'),
            dict(type='PackImageAndClass'),
        ],
    ),
)
test_dataloader = val_dataloader
