# 10 % of COCO's images with their labels, the others without; tools/split_labels.py makes the two files of annotations.
# The pipelines are those of MMDetection's _base_/datasets/semi_coco_detection.py
_base_ = './coco_detection.py'

branches = ['sup', 'unsup_teacher', 'unsup_student']
scale = [(1333, 400), (1333, 1200)]
# The homography is by which a box of one view is found in the other
meta_keys = (
    *('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction'),
    'homography_matrix',
)
colours = [
    [dict(type=name)]
    for name in (
        *('ColorTransform', 'AutoContrast', 'Equalize', 'Sharpness', 'Posterize', 'Solarize'),
        *('Color', 'Contrast', 'Brightness'),
    )
]
moves = [[dict(type=name)] for name in ('Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY')]

labelled_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandAugment', aug_space=colours, aug_num=1),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2)),
    dict(type='MultiBranch', branch_field=branches, sup=dict(type='PackDetInputs')),
]
# What the teacher labels
weak_pipeline = [
    dict(type='RandomResize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs', meta_keys=meta_keys),
]
# What the student learns from
strong_pipeline = [
    dict(type='RandomResize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomOrder',
        transforms=[
            dict(type='RandAugment', aug_space=colours, aug_num=1),
            dict(type='RandAugment', aug_space=moves, aug_num=1),
        ],
    ),
    dict(type='RandomErasing', n_patches=(1, 5), ratio=(0, 0.2)),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2)),
    dict(type='PackDetInputs', meta_keys=meta_keys),
]
unlabelled_pipeline = [
    dict(type='LoadImageFromFile', backend_args=_base_.backend_args),
    dict(type='LoadEmptyAnnotations'),
    dict(type='MultiBranch', branch_field=branches, unsup_teacher=weak_pipeline, unsup_student=strong_pipeline),
]

train_dataloader = dict(
    _delete_=True,
    batch_size=5,
    num_workers=5,
    persistent_workers=True,
    sampler=dict(type='LabelledAndUnlabelledSampler', batch_size=5, source_ratio=[1, 4]),
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                type='CocoDataset',
                data_root=_base_.data_root,
                ann_file='semi_anns/instances_train2017.1@10.json',
                data_prefix=dict(img='train2017/'),
                filter_cfg=dict(filter_empty_gt=True, min_size=32),
                pipeline=labelled_pipeline,
                backend_args=_base_.backend_args,
            ),
            dict(
                type='CocoDataset',
                data_root=_base_.data_root,
                ann_file='semi_anns/instances_train2017.1@10-unlabeled.json',
                data_prefix=dict(img='train2017/'),
                filter_cfg=dict(filter_empty_gt=False),
                pipeline=unlabelled_pipeline,
                backend_args=_base_.backend_args,
            ),
        ],
    ),
)
