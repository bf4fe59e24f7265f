# ImageNet-1K without its labels; any folder of images will do
data_root = 'data/imagenet/'
size = 224

train_dataloader = dict(
    batch_size=64,  # x 8 GPUs x 8 accumulated steps: 4096
    num_workers=10,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='UnlabelledImages',
        data_root=data_root,
        data_prefix=dict(img_path='train/'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RandomCropAndResize', size=size, scale=(0.2, 1.0)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackImages'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=10,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='UnlabelledImages',
        data_root=data_root,
        data_prefix=dict(img_path='val/'),
        test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='CenterCropAndResize', size=size),
            dict(type='PackImages'),
        ],
    ),
)
val_evaluator = dict(type='ReconstructionLoss')
