"""Converts ConvNeXt weights, V1 or V2, between the names and layouts of the code bases that have them."""

import argparse

from mmconvnext.checkpoints import convert_file
from mmconvnext.checkpoints.dialects import TARGETS
from mmconvnext.engine.console import errors_as_sentences


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='path, address, hf-hub:org/name, or short name, of any dialect')
    parser.add_argument('destination', help='new file; .safetensors by its suffix, else .pth')
    parser.add_argument('--to', required=True, choices=TARGETS, help='whose names and layout')
    parser.add_argument('--prefix', help='which network to take if the file holds several, such as teacher.backbone')
    parser.add_argument('--key', help='which entry to take if the file has several, such as model_ema')
    parser.add_argument('--force', action='store_true', help='replace the destination if it is there')
    parser.add_argument('--allow-pickle', action='store_true', help='read a file that can run any code as it is read')
    return parser.parse_args()


def main() -> None:
    """Converts."""
    args = parse_args()
    options = dict(prefix=args.prefix, key=args.key, force=args.force, allow_pickle=args.allow_pickle)
    with errors_as_sentences():
        print(convert_file(args.source, args.destination, args.to, **options))


if __name__ == '__main__':
    main()
