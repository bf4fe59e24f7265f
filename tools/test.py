"""Evaluates a checkpoint: box and mask AP of a detector, mIoU, mAcc and aAcc of a segmentor."""

import argparse
import os

# Threads that spin while they wait for each other lose their turn to whatever else runs on the machine: beside one
# busy process on two cores a step took four times as long. Threads that sleep do not
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from mmconvnext.engine import command_line
from mmconvnext.engine.console import errors_as_sentences, leave_out_foreign_warnings
from mmconvnext.engine.prepare import configure_test, prepare
from mmconvnext.engine.run import build_tester, evaluate


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = command_line.make_parser(
        __doc__,
        config='config file that the checkpoint was trained with',
        mini='evaluate on the mini data of tools/train.py --mini',
        work_dir='the log',
    )
    parser.add_argument(
        'checkpoint',
        type=command_line.path,
        help="of the whole detector or segmentor: path, address, or the authors' by the config's name",
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
        type=command_line.path,
        metavar='PATH',
        help='write detections to this .pkl, or label maps to this folder',
    )
    parser.add_argument(
        '--show-dir', type=command_line.path, help='draw ground truth and result side by side into this folder'
    )
    return parser.parse_args()


def main() -> None:
    """Prepares the config and evaluates."""
    args = parse_args()
    leave_out_foreign_warnings()
    with errors_as_sentences():
        cfg = prepare(**command_line.for_prepare(args))
        configure_test(cfg, args.checkpoint, fuse=args.fuse, tta=args.tta, out=args.out, show_dir=args.show_dir)
        runner = build_tester(cfg)
        evaluate(runner, results=args.out, pictures=args.show_dir)


if __name__ == '__main__':
    main()
