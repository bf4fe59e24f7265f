"""Checks whether MMDetection's loader and pycocotools can read the ``segmentation`` of an annotation."""

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

POLYGONS = 'a polygon is a list of lists of at least 6 numbers, an even count: [[x1, y1, x2, y2, x3, y3, ...]]'
RUN_LENGTHS = 'a run-length mask is an object with counts, a list or text, and size, [height, width]'

MOST = 2**40  # pixels of a run; a sum of these does not overflow


class MaskError(Exception):
    """A segmentation cannot be read as it is. It is raised and caught within this folder."""


class RunLengths(NamedTuple):
    """A run-length mask that is sound.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        runs: How many pixels lie outside, inside, outside, ... down the columns; int64.
    """

    height: int
    width: int
    runs: np.ndarray


def check_segmentation(segmentation: Any) -> RunLengths | None:
    """Checks the form of a segmentation that is not empty.

    Returns:
        The run-length mask; None for polygons.

    Raises:
        MaskError: If the loader or pycocotools could not read it, or would read something else.
    """
    if type(segmentation) is list:
        sound = 0
        for polygon in segmentation:
            if type(polygon) is not list:
                given = 'a flat list of numbers' if isinstance(polygon, int | float) else f'{_short(segmentation)}'
                raise MaskError(f'is {given}; {POLYGONS}')
            count = len(polygon)
            if not _finite(polygon):
                raise MaskError(f'has the polygon {_short(polygon)}, not all of it numbers; {POLYGONS}')
            if count % 2:
                raise MaskError(f'has a polygon of {count} numbers; {POLYGONS}')
            sound += count >= 6
        if not sound:
            raise MaskError(f'has no polygon of more than {max(map(len, segmentation))} numbers; {POLYGONS}')
        return None
    if not isinstance(segmentation, dict):
        raise MaskError(f'is {_short(segmentation)}; {POLYGONS}; {RUN_LENGTHS}')
    size, counts = segmentation.get('size'), segmentation.get('counts')
    if not (isinstance(size, list) and len(size) == 2 and all(type(v) is int and v > 0 for v in size)):
        raise MaskError(f'has the size {_short(size)}; {RUN_LENGTHS}')
    height, width = size
    runs = _runs(text_of_bytes(counts) or counts)
    if runs is None:
        raise MaskError(f'has counts that are not run lengths, {_short(counts)}; {RUN_LENGTHS}')
    if (total := int(runs.sum())) != height * width:
        raise MaskError(
            f'has counts that add up to {total} pixels, where its size [{height}, {width}] has {height * width}'
        )
    return RunLengths(height, width, runs)


def has_short_parts(segmentation: Any) -> bool:
    """Whether some polygons of a sound segmentation have fewer than three points; the loader leaves these out."""
    return type(segmentation) is list and any(len(polygon) < 6 for polygon in segmentation)


def text_of_bytes(counts: Any) -> str | None:
    """Returns the text of counts that are written as Python prints bytes, ``"b'...'"``; None for other counts."""
    if isinstance(counts, str) and len(counts) > 2 and counts[:2] == "b'" and counts[-1] == "'":
        return counts[2:-1].replace('\\\\', '\\')
    return None


def _finite(values: Sequence[Any]) -> bool:
    try:
        return isfinite(sum(values))
    except (TypeError, OverflowError):
        return False


def _runs(counts: Any) -> np.ndarray | None:
    """Returns the run lengths that counts stand for; None if they stand for none."""
    if isinstance(counts, list):
        sound = counts and all(type(v) is int and 0 <= v < MOST for v in counts)
        return np.array(counts, np.int64) if sound else None
    if not isinstance(counts, str) or not counts.isascii():
        return None
    # pycocotools' text: a character, counted from '0', holds 5 bits of a number, and its sixth bit says that more
    # characters follow. The fifth bit of the last one is the sign. From the fourth run on, a number is the difference
    # to the run two before
    code = np.frombuffer(counts.encode('ascii'), np.uint8).astype(np.int64) - 48
    if not code.size or code.min() < 0 or code.max() > 63 or code[-1] & 32:
        return None
    ends = np.flatnonzero(code & 32 == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 12:  # beyond 60 bits
        return None
    places = np.arange(code.size) - np.repeat(starts, lengths)
    runs = np.add.reduceat((code & 31) << (5 * places), starts)
    runs -= np.where(code[ends] & 16, np.left_shift(1, 5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs if runs.min() >= 0 and runs.max() < MOST else None


def _short(value: Any, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else f'{text[:limit]}...'
