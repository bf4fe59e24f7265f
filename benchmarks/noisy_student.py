"""Compares students of Noisy Student with their teacher, which saw the labels alone, after equally many steps.

A small Mask R-CNN is trained from random weights on images of shapes, made on the spot, of which 10 % have labels. All
seeds have the same images and labels. A run that was interrupted goes on where it was.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks import arguments
from mmconvnext.datasets import mini
from mmconvnext.datasets.label_split import split_file
from mmconvnext.errors import errors_as_sentences
from mmconvnext.semi.noisy_student import SHOWN, make_plan, run
from mmconvnext.semi.stages import Launch

CONFIGS = Path(__file__).parent.parent / 'configs/semi'
IMAGE_SIZE = (96, 128)  # height, width in pixels
VAL_IMAGES = 60
PERCENT = 10
# The recipes' model, losses and noise. A step of four images takes about 0.1 s on a core
SMALL = """
_base_ = {base!r}
data_root = {data!r}
metainfo = dict(classes={classes!r})
size = {size!r}
resized = [
    *_base_.train_dataloader.dataset.pipeline[:3],
    dict(type='RandomResize', scale=size, ratio_range=(0.75, 1.25), keep_ratio=True),
]
test_pipeline = list(_base_.test_pipeline)
test_pipeline[1] = dict(type='Resize', scale=size, keep_ratio=True)
noise = {noise!r}
labelled = dict(
    data_root=data_root,
    metainfo=metainfo,
    ann_file='semi_anns/instances_train2017.1@10.json',
    filter_cfg=dict(filter_empty_gt=False),
    pipeline=[*resized, *noise, dict(type='PackDetInputs')],
)
evaluated = dict(data_root=data_root, metainfo=metainfo, pipeline=test_pipeline)
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False, dataset=labelled)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=evaluated)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + '/annotations/instances_val2017.json')
test_evaluator = val_evaluator
rpn = dict(nms_pre=200, max_per_img=50)
model = dict(
    backbone=dict(
        arch=dict(_delete_=True, depths=(1, 1, 2, 1), widths=(24, 48, 96, 192)), drop_path_rate=0.0, init_cfg=None
    ),
    neck=dict(in_channels=[24, 48, 96, 192], out_channels=32),
    rpn_head=dict(in_channels=32, feat_channels=32),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=32),
        bbox_head=dict(in_channels=32, fc_out_channels=128, num_classes=5),
        mask_roi_extractor=dict(out_channels=32),
        mask_head=dict(in_channels=32, conv_out_channels=32, num_convs=2, num_classes=5),
    ),
    train_cfg=dict(rpn_proposal=rpn, rcnn=dict(sampler=dict(num=32))),
    test_cfg=dict(rpn=rpn, rcnn=dict(max_per_img=20)),
)
train_cfg = dict(max_iters={steps}, val_interval={steps})
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=30),
    dict(
        type='MultiStepLR', by_epoch=False, begin=0, end={steps}, milestones=[{steps} * 3 // 4, {steps} * 11 // 12]
    ),
]
optim_wrapper = dict(optimizer=dict(lr=1e-3))
default_hooks = dict(checkpoint=dict(interval={steps}, save_best=None))
"""

# Milder than the recipe's, as a few hundred steps from random weights are too few to learn through that
NOISE = [
    dict(
        type='RandAugment',
        aug_space=[[dict(type=name)] for name in ('Brightness', 'Color', 'Contrast', 'Sharpness')],
        aug_num=1,
    ),
    dict(type='RandomErasing', n_patches=(1, 2), ratio=(0, 0.1)),
]


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--steps', type=arguments.count, default=1200, help='of teacher and students (default: 1200)')
    parser.add_argument('--images', type=arguments.count, default=200, help='with and without labels (default: 200)')
    parser.add_argument('--rounds', type=arguments.count, default=1, help='students, one after the other (default: 1)')
    parser.add_argument('--score-thr', type=float, default=0.7, help='of the labels (default: 0.7)')
    parser.add_argument('--without-noise', action='store_true', help="train the students without the configs' noise")
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/noisy_student_benchmark'))
    parser.add_argument('--out', type=Path, help='write the figures to this JSON file')
    return parser.parse_args()


def main() -> None:
    """Trains all seeds and prints a table."""
    args = parse_args()
    args.work_dir = args.work_dir.absolute()
    with errors_as_sentences():
        args.work_dir.mkdir(parents=True, exist_ok=True)
        mini.write_mini(args.work_dir / 'data', train_images=args.images, val_images=VAL_IMAGES, image_size=IMAGE_SIZE)
        data = args.work_dir / 'data/coco'
        split_file(data / 'annotations/instances_train2017.json', PERCENT, 1)
        config = write_configs(args, data)
        rows = [measure(args, config, seed) for seed in args.seeds]
    print(f'\n{table(rows)}')
    if args.out:
        setting = dict(steps=args.steps, images=args.images, score_thr=args.score_thr, noise=not args.without_noise)
        args.out.write_text(json.dumps({**setting, 'rows': rows}, indent=1) + '\n')


def write_configs(args: argparse.Namespace, data: Path) -> Path:
    """Writes the small configs of teacher and student; returns the student's."""
    base = str(CONFIGS / 'mask_rcnn_convnext_t_10p.py')
    values = dict(base=base, data=str(data), classes=mini.DETECTION_CLASSES, size=IMAGE_SIZE[::-1], steps=args.steps)
    teacher, student = (args.work_dir / f'{name}.py' for name in ('teacher', 'student'))
    teacher.write_text(SMALL.format(noise=[], **values))
    noise = [] if args.without_noise else NOISE
    settings = dict(
        teacher=teacher.name,
        unlabelled=dict(
            ann_file=f'semi_anns/instances_train2017.1@{PERCENT}-unlabeled.json', data_prefix=dict(img='train2017/')
        ),
        rounds=args.rounds,
        score_thr=args.score_thr,
    )
    student.write_text(f'{SMALL.format(noise=noise, **values)}noisy_student = {settings!r}\n')
    return student


def measure(args: argparse.Namespace, config: Path, seed: int) -> dict[str, Any]:
    """Returns the metrics of teacher and students of a seed, by the model's name."""
    reached = run(make_plan(str(config), work_dir=str(args.work_dir / f'seed_{seed}'), seed=seed), Launch())
    return dict(seed=seed, **{one.name: {name: one.metrics[name] for name in SHOWN} for one in reached})


def table(rows: list[dict[str, Any]]) -> str:
    """A table in Markdown: a line for each seed, and the means."""
    models = [name for name in rows[0] if name != 'seed']
    lines = [['seed', *(f'{model}, {shown}' for shown in SHOWN.values() for model in models)]]
    lines.append(['---'] * len(lines[0]))
    for row in rows:
        lines.append([str(row['seed']), *(f'{row[model][name]:.3f}' for name in SHOWN for model in models)])
    means = (statistics.mean(row[model][name] for row in rows) for name in SHOWN for model in models)
    lines.append(['mean', *(f'{value:.3f}' for value in means)])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


if __name__ == '__main__':
    main()
