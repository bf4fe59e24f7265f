"""RoIAlign with max pooling: the largest sample of each cell instead of their average. In plain PyTorch."""

import torch
from torch import Tensor

from mmconvnext.compat.ops import cells
from mmconvnext.compat.ops.roi_align_cpu import Grid


def forward(maps: Tensor, rois: Tensor, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the cells, and the row and the column at which their largest sample lies.

    Args:
        maps: (b, c, h, w), float32 or float64.
        rois: (n, 5) in the dtype of the maps, as (index into b, x1, y1, x2, y2).
        grid: What to lay on each RoI.

    Returns:
        Three tensors (n, c, grid.height, grid.width) in the dtype of the maps. Rows and columns are where the sample
        is taken, not clamped to the map, and -1 where a cell has no sample. The value of such a cell is mmcv's
        initial maximum, or 0 if the RoI has a NaN or infinite corner.
    """
    channels, height, width = maps.shape[1:]
    # mmcv's CPU and GPU kernels start from different values
    lowest = -10000.0 if maps.is_cpu else -torch.finfo(torch.float32).max
    finite = rois.isfinite().all(1)
    image = rois[:, 0].where(finite, 0).long()
    starts, extents = _starts_and_extents(rois, grid)
    size = extents.new_tensor([grid.width, grid.height])
    steps = extents / size
    counts = cells.samples_of(steps, grid.sampling_ratio, finite)

    shape = len(rois), grid.height, grid.width, channels
    largest = maps.new_full(shape, lowest).masked_fill(~finite[:, None, None, None], 0)
    places_y, places_x = maps.new_full(shape, -1), maps.new_full(shape, -1)
    pixels = cells.pixels_of(maps)
    for roi, down, across in cells.by_size(counts[:, 1], counts[:, 0], channels * grid.height * grid.width):
        y = _places(starts[roi, 1], steps[roi, 1], grid.height, down)[:, :, None, :, None]
        x = _places(starts[roi, 0], steps[roi, 0], grid.width, across)[:, None, :, None, :]
        y, x = (place.flatten(3) for place in torch.broadcast_tensors(y, x))  # (k, rows, columns, down * across)
        corners = cells.Corners.of(y, x, height, width)
        samples = corners.sample(pixels, image[roi, None, None, None], height, width)
        # In mmcv, a NaN is never the largest
        best, which = samples.where(samples > lowest, -torch.inf).max(3)  # of equal samples the first
        found = best > lowest
        largest[roi] = best.clamp(min=lowest)
        places_y[roi] = y.gather(3, which).where(found, -1)
        places_x[roi] = x.gather(3, which).where(found, -1)
    return largest.permute(0, 3, 1, 2), places_y.permute(0, 3, 1, 2), places_x.permute(0, 3, 1, 2)


def backward(grad_cells: Tensor, rois: Tensor, y: Tensor, x: Tensor, shape: torch.Size) -> Tensor:
    """Returns the gradient of the maps, (b, c, h, w) as ``shape`` says.

    Args:
        grad_cells: (n, c, rows, columns), float32 or float64.
        rois: As in :func:`forward`.
        y: Rows of the largest samples, as :func:`forward` returns them.
        x: Their columns.
        shape: Of the maps.
    """
    batch, channels, height, width = shape
    image = rois[:, 0].where(rois[:, 0].isfinite(), 0).long()[:, None, None, None]
    channel = torch.arange(channels, device=y.device)[:, None, None]
    # -1 also marks a cell without samples, so a sample exactly at -1 gets no gradient, as in mmcv
    grad_cells = grad_cells.where(y != -1, 0)
    grad = grad_cells.new_zeros(batch * height * width * channels)
    for pixel, weight in cells.Corners.of(y, x, height, width).each(image, height, width):
        grad.index_add_(0, (pixel * channels + channel).flatten(), (grad_cells * weight).flatten())
    return grad.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _starts_and_extents(rois: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """First corners and sizes in pixels of the maps, (n, 2) as x, y."""
    starts, ends = (corner * grid.spatial_scale - 0.5 * grid.aligned for corner in (rois[:, 1:3], rois[:, 3:]))
    extents = ends - starts
    return starts, extents if grid.aligned else extents.clamp(min=1)


def _places(start: Tensor, step: Tensor, cells_: int, count: int) -> Tensor:
    """Where the samples lie along one axis: (k, cells_, count) from (k,) and (k,)."""
    cell, sample = (torch.arange(n, device=start.device, dtype=start.dtype) for n in (cells_, count))
    start, step = start[:, None, None], step[:, None, None]
    return start + cell[:, None] * step + (sample + 0.5) * step / count
