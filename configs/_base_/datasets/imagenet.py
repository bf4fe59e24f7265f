# ImageNet-1K at 224 pixels, or any other folder with a folder of images for each class
data_root = 'data/imagenet/'

train_dataloader = dict(
    batch_size=128,
    num_workers=10,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='ClassFolders',
        data_root=data_root,
        data_prefix=dict(img_path='train/'),
        pipeline=[
            dict(type='LoadPILImage'),
            # arXiv 2201.03545, table 5, and arXiv 2301.00808, tables 9 to 13. timm turns colour jitter off where there
            # is RandAugment
            dict(
                type='TimmTransform',
                input_size=224,
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
    batch_size=128,
    num_workers=10,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='ClassFolders',
        data_root=data_root,
        data_prefix=dict(img_path='val/'),
        test_mode=True,
        pipeline=[
            dict(type='LoadPILImage'),
            # The published accuracies are of the middle 224 pixels of 256
            dict(type='TimmTransform', input_size=224, crop_pct=0.875, interpolation='bicubic'),
            dict(type='PackImageAndClass'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='TopKAccuracy')
test_evaluator = val_evaluator
