"""Trains a teacher on labelled images, lets it label others, trains students on both: Noisy Student, all rounds."""

import argparse

from mmconvnext.cli import options
from mmconvnext.errors import errors_as_sentences
from mmconvnext.semi import noisy_student
from mmconvnext.semi.stages import Launch


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config',
        type=options.path,
        help="the students' config, such as configs/semi/noisy_student_mask_rcnn_convnext_t_10p.py",
    )
    parser.add_argument('--mini', action='store_true', help='scale down to small data that is made on the spot')
    parser.add_argument('--data-root', type=options.path, help="where the data lies, in place of the configs'")
    parser.add_argument('--work-dir', type=options.path, help='of all rounds (default: work_dirs/<config name>)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=options.Settings,
        metavar='KEY=VALUE',
        help="set values in the configs of teacher and students, and the students' noisy_student.*",
    )
    parser.add_argument(
        '--students',
        nargs='+',
        type=options.path,
        default=[],
        metavar='CONFIG',
        help='config of the student of each round, such as that of a larger one, in place of the first for all',
    )
    parser.add_argument(
        '--teacher', type=options.path, metavar='CHECKPOINT', help='of the first teacher, which is not trained then'
    )
    parser.add_argument('--tta', action='store_true', help="label with the teacher config's test-time augmentation")
    parser.add_argument(
        '--pretrained',
        type=options.path,
        metavar='PATH',
        help="backbone weights of all trainings in place of the configs'; none for random weights",
    )
    parser.add_argument('--gpus', type=int, default=1, help='of this machine, for one process each (default: 1)')
    parser.add_argument(
        '--amp',
        nargs='?',
        const='fp16',
        choices=('auto', 'fp16', 'bf16', 'off'),
        default='auto',
        help="mixed precision, fp16 without a value; auto (the default) is the config's, where there is a GPU",
    )
    parser.add_argument('--seed', type=int, help='of every training (default: drawn)')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help="scale the learning rate by batch size / the config's base batch"
    )
    args = parser.parse_args()
    if args.gpus < 1:
        parser.error(f'--gpus {args.gpus}: give a whole number, 1 or more')
    return args


def main() -> None:
    """Runs all stages that are not finished, and prints what teacher and students reached."""
    args = parse_args()
    with errors_as_sentences():
        plan = noisy_student.make_plan(
            args.config,
            students=args.students,
            checkpoint=args.teacher,
            use_mini=args.mini,
            data_root=args.data_root,
            work_dir=args.work_dir,
            cfg_options=args.cfg_options,
            seed=args.seed,
            pretrained=args.pretrained,
            tta=args.tta,
        )
        reached = noisy_student.run(plan, Launch(args.gpus, args.amp, args.auto_scale_lr))
    print(f'\n{noisy_student.table(reached)}')
