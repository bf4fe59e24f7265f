"""Splits a COCO annotation file into a labelled share and unlabelled rest, for trainings with few labels."""

import argparse
from pathlib import Path

from mmconvnext.cli import options
from mmconvnext.datasets.label_split import split_file
from mmconvnext.errors import UserError, errors_as_sentences


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('annotations', type=options.path, help='such as data/coco/annotations/instances_train2017.json')
    parser.add_argument('--percent', type=float, nargs='+', default=[10.0], help='of labelled images (default: 10)')
    parser.add_argument('--fold', type=int, nargs='+', default=[1], help='which draws (default: 1)')
    parser.add_argument('--out', type=options.path, help='folder (default: semi_anns beside the folder of the file)')
    return parser.parse_args()


def main() -> None:
    """Writes the files and prints their names."""
    args = parse_args()
    with errors_as_sentences():
        for percent in args.percent:
            if not 0 < percent < 100:
                raise UserError(f'--percent {percent:g}: give a number above 0 and below 100.', percent=percent)
        if min(args.fold) < 0:
            raise UserError(f'--fold {min(args.fold)}: give a whole number, 0 or more.', fold=min(args.fold))
        for fold in args.fold:
            for percent in args.percent:
                files = split_file(Path(args.annotations), percent, fold, args.out and Path(args.out))
                print(f'{files.labelled}\n{files.unlabelled}')
