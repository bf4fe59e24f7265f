"""What the benchmarks' command lines have in common: each argument is checked before anything is measured."""

import argparse
import json
import os
import re
from pathlib import Path

from benchmarks import timing

SMALLEST = 32  # pixels, of the backbone's input


def size(text: str) -> tuple[int, int]:
    """Height and width from ``HEIGHTxWIDTH``, or ``HEIGHT`` of a square."""
    match = re.fullmatch(r'(\d+)(?:x(\d+))?', text)
    sides = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if min(sides) < SMALLEST:
        raise argparse.ArgumentTypeError(
            f'{text!r} must be HEIGHT or HEIGHTxWIDTH, such as 800x1344, of {SMALLEST} or more'
        )
    return sides


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} must be a whole number, 1 or more')
    return int(text)


def results(text: str) -> Path:
    """A file of results to append to, which may not be there yet."""
    path = Path(text)
    if path.exists():
        try:
            known = json.loads(path.read_text(encoding='utf-8'))
        except (OSError, ValueError) as error:
            raise argparse.ArgumentTypeError(f'{text} cannot be read as JSON: {error}') from error
        if not isinstance(known, list) or not all(
            isinstance(result, dict) and result.keys() >= set(timing.IDENTITY) for result in known
        ):
            raise argparse.ArgumentTypeError(f'{text} holds no list of results')
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise argparse.ArgumentTypeError(f'{text} cannot be written: {folder} is no folder that can be written to')
    return path
