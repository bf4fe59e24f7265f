"""Trains a detector or a segmentor, evaluates it, and leaves its curves and pictures in the work directory."""

import argparse

from mmengine.config import DictAction

from mmconvnext.checkpoints import CheckpointError
from mmconvnext.engine.console import errors_as_sentences
from mmconvnext.engine.prepare import configure_training, prepare
from mmconvnext.engine.run import train


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, such as configs/detection/cascade_convnext_t_3x.py')
    parser.add_argument('--mini', action='store_true', help='scale down to small data that is made on the spot')
    parser.add_argument('--data-root', help="where the data lies, in place of the config's data_root")
    parser.add_argument('--work-dir', help='for logs, checkpoints and pictures (default: work_dirs/<config name>)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint, or (auto, or no value) from the latest in the work directory',
    )
    parser.add_argument(
        '--pretrained',
        metavar='PATH',
        help="backbone weights in place of the config's: path, address, or short name; none for random weights",
    )
    parser.add_argument(
        '--amp',
        choices=('auto', 'fp16', 'bf16', 'off'),
        default='auto',
        help="mixed precision; auto is the config's, where there is a GPU",
    )
    parser.add_argument('--seed', type=int, help='of every random number generator (default: drawn)')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help="scale the learning rate by batch size / the config's base batch"
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='set values of the config, such as model.backbone.arch=base',
    )
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm'), default='none')
    parser.add_argument('--local-rank', type=int, help=argparse.SUPPRESS)  # some launchers pass it
    return parser.parse_args()


def main() -> None:
    """Prepares the config and trains."""
    args = parse_args()
    with errors_as_sentences(ValueError, OSError):
        cfg = prepare(
            args.config,
            use_mini=args.mini,
            data_root=args.data_root,
            work_dir=args.work_dir,
            cfg_options=args.cfg_options,
            amp=args.amp,
            seed=args.seed,
            launcher=args.launcher,
        )
        configure_training(cfg, pretrained=args.pretrained, resume=args.resume, auto_scale_lr=args.auto_scale_lr)
    with errors_as_sentences(CheckpointError):
        train(cfg)


if __name__ == '__main__':
    main()
