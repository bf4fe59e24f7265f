"""What the poolings of RoIs in plain PyTorch share: cells of one size at a time, and bilinear samples."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

MOST_VALUES = 2**24  # in one tensor of a channel's pixels or samples


def by_size(heights: Tensor, widths: Tensor, channels: int) -> Iterator[tuple[Tensor, int, int]]:
    """Go through cells of the same number of points together, as many as a tensor of all their values should hold.

    Args:
        heights: Rows of points in each cell, (n,) integers.
        widths: Columns of points in each cell, (n,) integers.
        channels: Values of a point.

    Yields:
        The cells as indices, (k,), their height and their width, both above 0. A cell without points is left out.
    """
    sizes, which = torch.stack([heights, widths], 1).unique(dim=0, return_inverse=True)
    members = which.argsort(stable=True).split(which.bincount(minlength=len(sizes)).tolist())
    for (height, width), cells in zip(sizes.tolist(), members):
        if height > 0 and width > 0:
            for part in cells.split(max(1, MOST_VALUES // (height * width * max(1, channels)))):
                yield part, height, width


def samples_of(steps: Tensor, sampling_ratio: int, number: Tensor) -> Tensor:
    """How many samples RoIAlign takes along each side of a cell, (n, 2) integers.

    Args:
        steps: The sides of each RoI's cells in pixels of the maps, (n, 2).
        sampling_ratio: That many; or 0: one a pixel, rounded up, which may leave none.
        number: Whether the RoI is one of numbers, (n,); another has no samples.
    """
    if sampling_ratio > 0:
        counts = torch.full_like(steps, sampling_ratio)
    else:
        counts = steps.float().ceil()  # in single precision whatever the dtype, as in mmcv
    return counts.where(number[:, None], 0).clamp(min=0).long()


def pixels_of(maps: Tensor) -> Tensor:
    """(b * h * w, c) from (b, c, h, w): a pixel's channels next to each other."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


class Corners(NamedTuple):
    """The four pixels that a bilinear sample lies between.

    Beyond the centres of the border's pixels a map goes on for a pixel with their values, and then there is 0.

    Args:
        low_y: Row of the upper two, integers in the shape of the samples.
        low_x: Column of the left two.
        high_y: Row of the lower two; that of the upper in the last row.
        high_x: Column of the right two; that of the left in the last column.
        part_y: Weight of the lower two, 1 less that of the upper.
        part_x: Weight of the right two, 1 less that of the left.
        inside: Whether there is anything but 0.
    """

    low_y: Tensor
    low_x: Tensor
    high_y: Tensor
    high_x: Tensor
    part_y: Tensor
    part_x: Tensor
    inside: Tensor

    @classmethod
    def of(cls, y: Tensor, x: Tensor, height: int, width: int) -> 'Corners':
        """Those of samples at ``y`` and ``x`` in maps of ``height`` and ``width``; a pixel's centre is an integer."""
        inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
        y, x = (at.where(inside, 0).clamp(0, size - 1) for at, size in ((y, height), (x, width)))
        low_y, low_x = y.long(), x.long()
        high_y, high_x = (low_y + 1).clamp(max=height - 1), (low_x + 1).clamp(max=width - 1)
        return cls(low_y, low_x, high_y, high_x, y - low_y, x - low_x, inside)

    def each(self, image: Tensor, height: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Go through upper left, upper right, lower left and lower right.

        Args:
            image: Index of the samples' maps, integers that broadcast with the samples.
            height: Of the maps.
            width: Of the maps.

        Yields:
            Index into :func:`pixels_of` the maps, and weight, both in the shape of the samples.
        """
        for row, down in ((self.low_y, 1 - self.part_y), (self.high_y, self.part_y)):
            for column, across in ((self.low_x, 1 - self.part_x), (self.high_x, self.part_x)):
                yield (image * height + row) * width + column, down * across * self.inside

    def sample(self, pixels: Tensor, image: Tensor, height: int, width: int) -> Tensor:
        """Returns the samples' values, in their shape and then c; the rest is as in :meth:`each`.

        Args:
            pixels: As :func:`pixels_of` returns them.
            image: As in :meth:`each`.
            height: Of the maps.
            width: Of the maps.
        """
        value = pixels.new_zeros(())
        for pixel, weight in self.each(image, height, width):
            value = value + pixels[pixel] * weight[..., None]
        # A weight of 0 does not make 0 of a pixel that is no number
        return value.where(self.inside[..., None], 0)
