"""Tiles of the kernels, by width. Nothing is tuned at run time, so that results repeat and start-up is short.

They come from what compiles for compute capability 8.0 and 9.0 with all sums in registers, not from a measurement.
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


class MLPTile(NamedTuple):
    """What one program of the LayerNorm and MLP kernels computes."""

    pixels: int
    hidden: int  # of the 4C channels at a time
    warps: int
    stages: int


def norm_mlp(channels: int) -> MLPTile:
    """Tile for a width that :func:`has_norm_mlp`."""
    pixels = 128 if channels <= 128 else 64
    return MLPTile(pixels=pixels, hidden=64 if channels <= 96 else 32, warps=8, stages=2)


def has_norm_mlp(channels: int) -> bool:
    """Whether a tile of pixels of that width fits into registers, in powers of two that a matrix product takes."""
    return channels <= 192 and channels % 16 == 0


def powers_of_two(channels: int) -> tuple[int, ...]:
    """The powers of two that add up to a width, largest first: 96 is (64, 32)."""
    return tuple(1 << bit for bit in reversed(range(channels.bit_length())) if channels >> bit & 1)
