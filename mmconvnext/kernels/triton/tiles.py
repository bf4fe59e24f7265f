"""Tile sizes of the kernels, by width. Nothing is tuned at run time, so results repeat and start-up is short.

The sizes are those that compile for compute capability 8.0 and 9.0 with all sums in registers. None is measured yet.
"""

from typing import NamedTuple


class DepthwiseTile(NamedTuple):
    """What one program of the depthwise kernels computes. The kernels take all but the last field, in this order."""

    channels: int
    lanes: int  # side by side along the width
    rows: int
    columns: int  # of each lane
    warps: int


def depthwise(channels: int) -> DepthwiseTile:
    """Returns the tile for a width that is a multiple of 8.

    Each of 128 threads has two channels: it loads two-byte numbers four bytes at a time, and 16 sums of each channel
    fit into its registers.
    """
    block = min(128, channels & -channels)
    return DepthwiseTile(channels=block, lanes=256 // block, rows=4, columns=4, warps=4)


def splits(blocks: int) -> int:
    """Returns how many programs share the sum over pixels of one block of channels: about 3 for each of 132 SMs."""
    return max(1, 396 // blocks)


class MLPTile(NamedTuple):
    """What one program of the LayerNorm and MLP kernels computes."""

    pixels: int
    hidden: int  # how many of the 4C channels at a time
    warps: int
    stages: int  # of the software pipeline that loads weights ahead


def norm_mlp(channels: int) -> MLPTile:
    """Returns the tile for a width for which :func:`has_norm_mlp` is true."""
    pixels = 128 if channels <= 128 else 64
    return MLPTile(pixels=pixels, hidden=64 if channels <= 96 else 32, warps=8, stages=2)


def has_norm_mlp(channels: int) -> bool:
    """Whether a tile of pixels of this width fits into registers, and can be cut into powers of two of at least 16."""
    return channels <= 192 and channels % 16 == 0


def powers_of_two(channels: int) -> tuple[int, ...]:
    """Returns the powers of two that add up to a width, largest first: 96 is (64, 32)."""
    return tuple(1 << bit for bit in reversed(range(channels.bit_length())) if channels >> bit & 1)
