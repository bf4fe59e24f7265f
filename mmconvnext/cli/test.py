"""Evaluates a checkpoint: box and mask AP of a detector, mIoU, mAcc and aAcc of a segmentor."""

import argparse

from mmconvnext.cli import options
from mmconvnext.config.prepare import prepare, prepare_test
from mmconvnext.errors import errors_as_sentences
from mmconvnext.runner.console import hide_foreign_warnings
from mmconvnext.runner.run import build_tester, evaluate


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = options.make_parser(
        __doc__,
        config='config file that the checkpoint was trained with',
        mini='evaluate on the mini data of tools/train.py --mini',
        work_dir='the log',
    )
    parser.add_argument(
        'checkpoint',
        type=options.path,
        help="of the whole detector or segmentor: path, URL, or the config's name for the authors' checkpoint",
    )
    parser.add_argument(
        '--fuse',
        nargs='?',
        const='fp32',
        choices=('fp32', 'bf16'),
        help="fold and pack the backbone's weights for speed; bf16 also computes it in bfloat16",
    )
    parser.add_argument('--tta', action='store_true', help='multi-scale and flip test-time augmentation')
    parser.add_argument(
        '--out',
        type=options.path,
        metavar='PATH',
        help='write detections to this .pkl, or label maps to this folder',
    )
    parser.add_argument(
        '--show-dir', type=options.path, help='draw ground truth and result side by side into this folder'
    )
    return parser.parse_args()


def main() -> None:
    """Prepares the config and evaluates."""
    args = parse_args()
    hide_foreign_warnings()
    with errors_as_sentences():
        run = prepare(**options.shared(args))
        prepare_test(run, args.checkpoint, fuse=args.fuse, tta=args.tta, out=args.out, show_dir=args.show_dir)
        runner = build_tester(run)
        evaluate(runner, results=args.out, pictures=args.show_dir)


if __name__ == '__main__':  # started by tools/noisy_student.py, for each of its stages
    main()
