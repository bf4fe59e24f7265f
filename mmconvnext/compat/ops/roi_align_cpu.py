"""RoIAlign on the CPU for channels-last feature maps: each cell is a weighted sum of pixels, each a row of C values.

Torchvision's operator wants contiguous maps, so channels-last ones are copied first, and it runs on one core.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

MOST_SAMPLES = 2**23  # pixels that are listed at once; their indices and weights take about 1 GiB


class Grid(NamedTuple):
    """The settings of RoIAlign, which mmcv's operator has as separate arguments.

    Args:
        height: Rows of cells.
        width: Columns of cells.
        spatial_scale: Pixels of the maps to one of the image.
        sampling_ratio: Samples along each side of a cell; 0 takes one a pixel, rounded up.
        aligned: Whether the first pixel has its centre at 0.5, as it should, or at 0.
    """

    height: int
    width: int
    spatial_scale: float
    sampling_ratio: int
    aligned: bool


def fits(rois: Tensor, grid: Grid, height: int, width: int) -> bool:
    """Whether the pixels of all cells can be listed in memory. Hundreds of RoIs as large as the map have too many.

    Args:
        rois: As in :func:`forward`.
        grid: As in :func:`forward`.
        height: Of the maps.
        width: Of the maps.
    """
    sides = (rois[:, 3:] - rois[:, 1:3]) * grid.spatial_scale
    sides = sides.where(sides.isfinite(), 0).clamp(min=0)
    sides = sides + 2 * sides.new_tensor([grid.width, grid.height])  # each cell reaches into the pixels next to it
    return bool(
        (sides <= 4 * max(height, width, grid.height, grid.width)).all() and sides.prod(1).sum() <= MOST_SAMPLES
    )


def forward(maps: Tensor, rois: Tensor, grid: Grid) -> Tensor:
    """Returns the cells (n, C, grid.height, grid.width), in channels-last memory.

    Args:
        maps: (B, C, H, W), float32 or float64, in channels-last memory.
        rois: (n, 5) in the dtype of the maps, as (index into B, x1, y1, x2, y2).
        grid: What to lay on each RoI.
    """
    samples = _Samples.of(rois, grid, *maps.shape[2:])
    pixels = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])
    cells = _sums(pixels, samples.pixel, samples.offsets, samples.weight)
    return cells.view(len(rois), grid.height, grid.width, maps.shape[1]).permute(0, 3, 1, 2)


def backward(grad_cells: Tensor, rois: Tensor, grid: Grid, shape: torch.Size) -> Tensor:
    """Returns the gradient of the maps, (B, C, H, W) as ``shape`` says, in channels-last memory.

    Args:
        grad_cells: (n, C, grid.height, grid.width).
        rois: As in :func:`forward`.
        grid: As in :func:`forward`.
        shape: Of the maps.
    """
    batch, channels, height, width = shape
    samples = _Samples.of(rois, grid, height, width)
    # The transposed sums: for each pixel, over the cells that it belongs to
    pixel, order = torch.sort(samples.pixel, stable=True)
    offsets = torch.searchsorted(pixel, torch.arange(batch * height * width + 1))
    cell = torch.repeat_interleave(samples.offsets.diff())[order]
    grad_pixels = _sums(grad_cells.permute(0, 2, 3, 1).reshape(-1, channels), cell, offsets, samples.weight[order])
    return grad_pixels.view(batch, height, width, channels).permute(0, 3, 1, 2)


class _Samples(NamedTuple):
    """The pixels that each cell averages, listed cell by cell.

    Args:
        pixel: (s,) indices into the pixels of all maps.
        weight: (s,), of each pixel in its cell's average.
        offsets: (n * height * width + 1,), where the list of each cell begins, and where the last one ends.
    """

    pixel: Tensor
    weight: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, rois: Tensor, grid: Grid, height: int, width: int) -> '_Samples':
        image, left, top, right, bottom = rois.unbind(1)
        rows = _Axis.of(top, bottom, grid, grid.height, height)
        columns = _Axis.of(left, right, grid, grid.width, width)
        # A cell's pixels are where its rows of pixels meet its columns
        counts = (rows.size[:, :, None] * columns.size[:, None, :]).flatten()
        offsets = F.pad(counts.cumsum(0), (1, 0))
        cell = torch.repeat_interleave(counts)
        row = cell // grid.width  # row and column count the cells over all RoIs
        column = row // grid.height * grid.width + cell % grid.width
        nth = torch.arange(len(cell)) - offsets[cell]
        down = nth // columns.size.flatten()[column]
        across = nth - down * columns.size.flatten()[column]
        first_row = rows.first + image.long()[:, None] * height
        pixel = (first_row.flatten()[row] + down) * width + columns.first.flatten()[column] + across
        weight = rows.weight.flatten(0, 1)[row, down] * columns.weight.flatten(0, 1)[column, across]
        return cls(pixel, weight, offsets)


class _Axis(NamedTuple):
    """The pixel rows that each row of cells averages; or the pixel columns that each column of cells averages.

    Args:
        first: (n, cells), the index of the first.
        size: (n, cells), how many there are; 0 where all samples lie outside the map.
        weight: (n, cells, the largest size), padded with zeros.
    """

    first: Tensor
    size: Tensor
    weight: Tensor

    @classmethod
    def of(cls, start: Tensor, end: Tensor, grid: Grid, cells: int, size: int) -> '_Axis':
        offset = 0.5 if grid.aligned else 0.0
        start, end = (corner[:, None, None] * grid.spatial_scale - offset for corner in (start, end))
        extent = end - start if grid.aligned else (end - start).clamp(min=1)
        step = extent / cells
        if grid.sampling_ratio > 0:
            samples = torch.full_like(step, grid.sampling_ratio)
        else:  # an empty RoI, or one with a NaN or infinite corner, has no samples
            samples = step.ceil().where(step.isfinite(), 0).clamp(min=0)
        k = torch.arange(_largest(samples), dtype=step.dtype)
        position = (
            start + torch.arange(cells, dtype=step.dtype)[:, None] * step + (k + 0.5) * step / samples
        )  # (n, cells, k)
        inside = (k < samples) & (position >= -1) & (position <= size)
        position = position.where(inside, 0).clamp(0, size - 1)
        low = position.long()
        high = (low + 1).clamp(max=size - 1)
        share = inside / samples.clamp(min=1)
        upper = (position - low) * share

        first = low.where(inside, size).amin(2, keepdim=True)
        count = (high.where(inside, -1).amax(2, keepdim=True) - first + 1).clamp(min=0)
        weight = position.new_zeros(*low.shape[:2], _largest(count))
        weight.scatter_add_(2, (low - first).clamp(min=0), share - upper)
        weight.scatter_add_(2, (high - first).clamp(min=0), upper)
        return cls(first[..., 0], count[..., 0], weight)


def _largest(counts: Tensor) -> int:
    return max(1, int(counts.max())) if counts.numel() else 1


def _sums(rows: Tensor, indices: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of the rows in each range of indices, (len(offsets) - 1, C)."""
    return F.embedding_bag(indices, rows, offsets, mode='sum', per_sample_weights=weights, include_last_offset=True)
