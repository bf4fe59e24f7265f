"""Draws the road from ResNet to ConvNeXt: published accuracy, counted multiply-adds, and results of your trainings."""

import argparse
from pathlib import Path

from mmconvnext.backbones.road_steps import REGIMES
from mmconvnext.cli import options
from mmconvnext.errors import errors_as_sentences
from mmconvnext.runner.road_figure import draw_road
from mmconvnext.runner.road_results import rows_of, table


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--regime',
        choices=REGIMES,
        default='resnet50',
        help='from ResNet-50 to ConvNeXt-T (the default), or from ResNet-200 to ConvNeXt-B',
    )
    parser.add_argument(
        '--runs', type=options.path, metavar='FOLDER', help='folder with the work directories of trainings of the steps'
    )
    parser.add_argument('--out', type=options.path, default='road.png', help='the picture (default: road.png)')
    return parser.parse_args()


def main() -> None:
    """Prints the figures as a table and draws them."""
    args = parse_args()
    with errors_as_sentences():
        rows, metric = rows_of(args.regime, args.runs and Path(args.runs))
        print(table(args.regime, rows, metric))
        draw_road(args.regime, rows, metric, Path(args.out))
        print(f'\n{args.out}')
