"""Converts ConvNeXt V1 and V2 checkpoints between the names and layouts of different code bases."""

import argparse

from mmconvnext.checkpoints import convert_file
from mmconvnext.checkpoints.dialects import TARGETS
from mmconvnext.errors import errors_as_sentences


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='path, URL, hf-hub:org/name, or short name of a checkpoint of any code base')
    parser.add_argument(
        'destination', help='new file: safetensors if its suffix is .safetensors, else as torch.save writes it'
    )
    parser.add_argument(
        '--to', required=True, choices=TARGETS, help='code base whose names and layout the new file gets'
    )
    parser.add_argument('--prefix', help='network to convert if the file holds several, such as teacher.backbone')
    parser.add_argument('--key', help='entry to convert if the file has several, such as model_ema')
    parser.add_argument('--force', action='store_true', help='replace an existing destination')
    parser.add_argument(
        '--allow-pickle', action='store_true', help='read a file even if it can run any code while it is read'
    )
    return parser.parse_args()


def main() -> None:
    """Converts a checkpoint."""
    args = parse_args()
    options = dict(prefix=args.prefix, key=args.key, force=args.force, allow_pickle=args.allow_pickle)
    with errors_as_sentences():
        print(convert_file(args.source, args.destination, args.to, **options))
