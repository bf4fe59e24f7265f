# Noisy Student (arXiv 1911.04252), for detection: the student of mask_rcnn_convnext_t_10p, with noise that its teacher
# does not have. tools/noisy_student.py trains both. No result of this recipe is published
_base_ = './mask_rcnn_convnext_t_10p.py'

noisy_student = dict(
    teacher='mask_rcnn_convnext_t_10p.py',
    unlabelled=dict(
        ann_file='semi_anns/instances_train2017.1@10-unlabeled.json',
        data_prefix=dict(img='train2017/'),
    ),
    rounds=2,
    # As Unbiased Teacher (arXiv 2102.09480) on COCO; the paper's 0.3 is of classifiers
    score_thr=0.7,
    # Images with a class of which the teacher finds fewer than 1 % are repeated (LVIS, arXiv 1908.03195), and no class
    # is cut: of COCO's commonest, each image has others that are rarer
    oversample_thr=0.01,
    images_per_class=None,
    # Labelled and unlabelled images of a batch: the paper weighs both losses alike
    batch_ratio=(1, 1),
)

# The paper's noise: RandAugment and stochastic depth. Operations that turn or shear an image are left out, since the
# boxes of turned objects are no longer tight; erasing takes their place
noise = [
    dict(
        type='RandAugment',
        aug_space=[
            [dict(type=name)]
            for name in (
                *('AutoContrast', 'Brightness', 'Color', 'Contrast'),
                *('Equalize', 'Posterize', 'Sharpness', 'Solarize'),
            )
        ],
        aug_num=2,
    ),
    dict(type='RandomErasing', n_patches=(1, 5), ratio=(0, 0.2)),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1)),
]
train_dataloader = dict(
    dataset=dict(pipeline=[*_base_.train_pipeline[:-1], *noise, _base_.train_pipeline[-1]]),
)
model = dict(backbone=dict(drop_path_rate=0.6))  # 0.4 of the teacher
