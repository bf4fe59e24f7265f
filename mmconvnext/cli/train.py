"""Trains a detector or a segmentor, evaluates it, and leaves its curves and pictures in the work directory."""

import argparse

from mmconvnext.cli import options
from mmconvnext.config.prepare import prepare, prepare_training
from mmconvnext.errors import errors_as_sentences
from mmconvnext.runner.console import hide_foreign_warnings
from mmconvnext.runner.run import build_trainer, train


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = options.make_parser(
        __doc__,
        config='config file, such as configs/detection/cascade_convnext_t_3x.py',
        mini='scale down to small data that is made on the spot',
        work_dir='logs, checkpoints and pictures',
    )
    add_training_options(parser)
    return parser.parse_args()


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of every kind of training."""
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        type=options.path,
        metavar='CHECKPOINT',
        help='resume from this checkpoint; with auto, or without a value, from the latest in the work directory',
    )
    parser.add_argument(
        '--pretrained',
        type=options.path,
        metavar='PATH',
        help="backbone weights in place of the config's: path, URL, or short name; none for random weights",
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const='fp16',
        choices=('auto', 'fp16', 'bf16', 'off'),
        default='auto',
        help="mixed precision, fp16 without a value; auto (the default) keeps the config's if there is a GPU",
    )
    parser.add_argument('--seed', type=int, help='seed of all random number generators (default: drawn)')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help="scale the learning rate by batch size / the config's base batch"
    )


def main() -> None:
    """Prepares the config and trains."""
    run_training(parse_args())


def run_training(args: argparse.Namespace) -> None:
    """Prepares the config and trains, with the options of the command line."""
    hide_foreign_warnings()
    with errors_as_sentences():
        run = prepare(**options.shared(args), amp=args.amp, seed=args.seed)
        prepare_training(run, pretrained=args.pretrained, resume=args.resume, auto_scale_lr=args.auto_scale_lr)
        runner = build_trainer(run)
        train(runner)


if __name__ == '__main__':  # started by tools/noisy_student.py, for each of its stages
    main()
