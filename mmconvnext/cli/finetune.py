"""Fine-tunes or trains an image classifier by the papers' recipes, evaluates it, and leaves curves and pictures."""

import argparse

from mmconvnext.cli import options
from mmconvnext.cli.train import add_training_options, run_training


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = options.make_parser(
        __doc__,
        config='config file, such as configs/classification/convnextv2_a_fcmae_ft_in1k_600e.py',
        mini='scale down to small images of shapes that are made on the spot',
        work_dir='logs, checkpoints and pictures',
    )
    add_training_options(parser)
    return parser.parse_args()


def main() -> None:
    """Prepares the config and trains."""
    run_training(parse_args())
