"""Tiles of the kernels, by width. Nothing is tuned at run time, so that results repeat and start-up is short.

They come from what compiles for compute capability 8.0 and 9.0 without spilling registers, not from a measurement.
"""

from typing import NamedTuple


class DepthwiseTile(NamedTuple):
    """What one program of the depthwise kernels computes."""

    channels: int
    lanes: int  # next to each other along the width
    rows: int
    columns: int  # of each lane
    warps: int


def depthwise(channels: int) -> DepthwiseTile:
    """Tile for a width that is a multiple of 8.

    Two channels for each of 128 threads: two-byte numbers then load four bytes at a time, and 16 sums of each fit into
    registers.
    """
    block = min(128, channels & -channels)
    return DepthwiseTile(channels=block, lanes=256 // block, rows=4, columns=4, warps=4)


def splits(blocks: int) -> int:
    """How many programs share the sum over pixels of each block of channels: about 3 for each of 132 processors."""
    return max(1, 396 // blocks)
