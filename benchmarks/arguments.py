"""Checks the arguments of the benchmarks' command lines before anything is measured."""

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import timing

SMALLEST = 32  # pixels, of the backbone's input
# Facts that all figures of one file share; docs/speed.md states them once, above the figures
SETTING = ('processor', 'threads', 'instructions', 'python', 'gpu', 'driver', 'torch', 'cudnn', 'triton')


def size(text: str) -> tuple[int, int]:
    """Returns height and width from ``HEIGHTxWIDTH``, or from ``HEIGHT`` for a square."""
    match = re.fullmatch(r'(\d+)(?:x(\d+))?', text)
    sides = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if min(sides) < SMALLEST:
        raise argparse.ArgumentTypeError(
            f'{text!r} must be HEIGHT or HEIGHTxWIDTH, such as 800x1344, of {SMALLEST} or more'
        )
    return sides


def count(text: str) -> int:
    """Returns a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} must be a whole number, 1 or more')
    return int(text)


def results(text: str) -> Path:
    """Returns the path of a file of results to append to, which need not exist yet."""
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


def check_setting(out: Path | None, facts: Mapping[str, Any]) -> None:
    """Ends the program if a file of results holds figures of another machine or of other versions.

    Args:
        out: From :func:`results`; None if nothing is written.
        facts: The facts about this machine that will stand beside the figures.
    """
    for result in json.loads(out.read_text(encoding='utf-8')) if out and out.is_file() else ():
        other = result.get('machine', {})
        for name in SETTING:
            if other.get(name) != facts.get(name):
                sys.exit(
                    f'error: --out {out} holds figures of another setting ({name} {other.get(name)}; here it is '
                    f'{facts.get(name)}). Each setting needs a file of its own, so give another name.'
                )


def check_memory() -> None:
    """Ends the program if the system cannot say how much memory a process takes at its peak."""
    if not os.access(timing.MEMORY_RESET, os.W_OK):
        sys.exit(
            f'error: --memory needs {timing.MEMORY_RESET}, which only Linux has, and which cannot be written to here. '
            'Leave --memory out.'
        )
