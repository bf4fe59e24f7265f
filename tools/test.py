"""Evaluates a checkpoint: box and mask AP of a detector, mIoU, mAcc and aAcc of a segmentor."""

import argparse

from mmengine.config import DictAction

from mmconvnext.checkpoints import CheckpointError
from mmconvnext.engine.console import errors_as_sentences
from mmconvnext.engine.prepare import configure_test, prepare
from mmconvnext.engine.run import evaluate


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file that the checkpoint was trained with')
    parser.add_argument(
        'checkpoint', help="of the whole detector or segmentor: path, address, or the authors' by the config's name"
    )
    parser.add_argument('--mini', action='store_true', help='evaluate on the mini data of tools/train.py --mini')
    parser.add_argument('--data-root', help="where the data lies, in place of the config's data_root")
    parser.add_argument('--work-dir', help='for the log (default: work_dirs/<config name>)')
    parser.add_argument('--tta', action='store_true', help='multi-scale and flip test-time augmentation')
    parser.add_argument('--out', metavar='PATH', help='write detections to this .pkl, or label maps to this folder')
    parser.add_argument('--show-dir', help='draw ground truth and result side by side into this folder')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='set values of the config, such as model.test_cfg.rcnn.score_thr=0.01',
    )
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm'), default='none')
    parser.add_argument('--local-rank', type=int, help=argparse.SUPPRESS)  # some launchers pass it
    return parser.parse_args()


def main() -> None:
    """Prepares the config and evaluates."""
    args = parse_args()
    with errors_as_sentences(ValueError, OSError):
        cfg = prepare(
            args.config,
            use_mini=args.mini,
            data_root=args.data_root,
            work_dir=args.work_dir,
            cfg_options=args.cfg_options,
            launcher=args.launcher,
        )
        configure_test(cfg, args.checkpoint, tta=args.tta, out=args.out, show_dir=args.show_dir)
    with errors_as_sentences(CheckpointError):
        evaluate(cfg, results=args.out, pictures=args.show_dir)


if __name__ == '__main__':
    main()
