"""Pre-trains a backbone on images without labels, and leaves curves and reconstructions in the work directory."""

import argparse

from mmconvnext.cli import options
from mmconvnext.cli.train import add_training_options, run_training


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = options.make_parser(
        __doc__,
        config='config file, such as configs/pretraining/fcmae_convnextv2_tiny_1600e.py',
        mini='scale down to small images that are made on the spot',
        work_dir='logs, checkpoints and pictures',
    )
    add_training_options(parser)
    return parser.parse_args()


def main() -> None:
    """Prepares the config and pre-trains."""
    run_training(parse_args())
