"""Evaluates an image classifier: top-1 and top-5 accuracy, beside what the authors published for their weights."""

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
        config='config file of the weights, such as configs/classification/convnext_t_in1k_300e.py',
        mini='evaluate on the mini data of tools/finetune.py --mini',
        work_dir='the log',
    )
    parser.add_argument(
        'checkpoint',
        type=options.path,
        help='of a classifier with its head: path, address, or short name, such as convnext_tiny.in1k_ema',
    )
    parser.add_argument('--show-dir', type=options.path, help='draw each image with its most likely classes here')
    return parser.parse_args()


def main() -> None:
    """Prepares the config and evaluates."""
    args = parse_args()
    hide_foreign_warnings()
    with errors_as_sentences():
        run = prepare(**options.shared(args))
        prepare_test(run, args.checkpoint, show_dir=args.show_dir)
        run.hooks.append(dict(type='PublishedAccuracyHook', checkpoint=args.checkpoint))
        evaluate(build_tester(run), pictures=args.show_dir)
