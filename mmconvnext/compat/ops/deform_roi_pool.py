"""Deformable RoI pooling, called as ``mmcv/ops/deform_roi_pool.py`` calls the compiled one, which is for GPUs only."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mmconvnext.compat.ops import cells


def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Lay a grid on each RoI, move each cell by an offset of its own, and average its samples (Dai et al., ICCV 2017).

    Without offsets this is RoIAlign, the average, aligned.

    Args:
        input: (b, c, h, w), of any floating dtype.
        rois: (n, 5) as (index into b, x1, y1, x2, y2), the corners in pixels of the image.
        offset: (n, 2, pooled_height, pooled_width), along x, then along y; or empty: none.
        output: (n, c, pooled_height, pooled_width), overwritten.
        pooled_height: Rows of the grid.
        pooled_width: Columns of the grid.
        spatial_scale: Pixels of the input to one of the image.
        sampling_ratio: Samples along each side of a cell; 0 takes one a pixel, rounded up.
        gamma: How far an offset of 1 moves a cell, in widths and heights of its RoI.
    """
    height, width = input.shape[2:]
    # Half precision misses the pixel
    input, rois, offset = (t.to(torch.promote_types(input.dtype, torch.float32)) for t in (input, rois, offset))
    pixels = cells.pixels_of(input)
    result = input.new_zeros(len(rois), pooled_height, pooled_width, input.shape[1])
    size = pooled_height, pooled_width
    for part in _parts(rois, offset, size, spatial_scale, sampling_ratio, gamma, input.shape[1]):
        corners = cells.Corners.of(part.y, part.x, height, width)
        result[part.roi] = corners.sample(pixels, part.image, height, width).mean(3)
    output.copy_(result.permute(0, 3, 1, 2))


def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Add the gradients of the input and of the offsets to ``grad_input`` and ``grad_offset``.

    That of the offsets is mmcv's. Over the border's last pixel it is not the derivative: mmcv goes on with the slope
    on the first side, and takes 0 along the last row and column.

    Each ``grad_`` tensor has the shape of what it is the gradient of; the rest is as in
    :func:`deform_roi_pool_forward`.
    """
    batch, channels, height, width = input.shape
    dtype = torch.promote_types(input.dtype, torch.float32)
    grad_output, input, rois, offset = (t.to(dtype) for t in (grad_output, input, rois, offset))
    pixels = cells.pixels_of(input)
    grad_pixels = torch.zeros_like(pixels)
    grad_offsets = offset.new_zeros(len(rois), 2, pooled_height, pooled_width)
    size = pooled_height, pooled_width
    for part in _parts(rois, offset, size, spatial_scale, sampling_ratio, gamma, channels):
        corners = cells.Corners.of(part.y, part.x, height, width)
        grad = grad_output[part.roi].permute(0, 2, 3, 1)[:, :, :, None] / part.y.shape[3]  # (k, rows, columns, 1, c)
        dots = []  # of each corner's pixel and the gradient
        for pixel, weight in corners.each(part.image, height, width):
            grad_pixels.index_add_(0, pixel.flatten(), (grad * weight[..., None]).flatten(0, 3))
            if offset.numel():
                dots.append((pixels[pixel] * grad).sum(4))
        if offset.numel():
            upper_left, upper_right, lower_left, lower_right = dots
            along_x = (upper_right - upper_left) * (corners.high_y - part.y)
            along_x = along_x + (lower_right - lower_left) * (part.y - corners.low_y)
            along_y = (lower_left - upper_left) * (corners.high_x - part.x)
            along_y = along_y + (lower_right - upper_right) * (part.x - corners.low_x)
            slopes = torch.stack([along_x, along_y], 1).where(corners.inside[:, None], 0).sum(4)
            grad_offsets[part.roi] = slopes * part.reach[:, :, None, None]
    grad_input += grad_pixels.view(batch, height, width, channels).permute(0, 3, 1, 2)
    if offset.numel():
        grad_offset += grad_offsets


class _Part(NamedTuple):
    """RoIs whose cells have the same number of samples.

    Args:
        roi: Their indices, (k,).
        image: Index into the batch, (k, 1, 1, 1).
        y: Of each sample of each cell, (k, rows, columns, samples).
        x: Of each sample of each cell, likewise.
        reach: How far an offset of 1 moves a cell along x and y, (k, 2), in pixels of the input.
    """

    roi: Tensor
    image: Tensor
    y: Tensor
    x: Tensor
    reach: Tensor


def _parts(
    rois: Tensor,
    offset: Tensor,
    size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
    channels: int,
) -> Iterator[_Part]:
    """Go through all RoIs that have samples, but for those whose corners are no numbers."""
    rows, columns = size
    number = rois.isfinite().all(1)
    starts, ends = (corner * spatial_scale - 0.5 for corner in (rois[:, 1:3], rois[:, 3:]))
    extents = ends - starts
    steps = extents / extents.new_tensor([columns, rows])
    counts = cells.samples_of(steps, sampling_ratio, number)
    starts = starts[:, :, None, None].expand(-1, -1, rows, columns)
    if offset.numel():
        starts = starts + gamma * extents[:, :, None, None] * offset

    for roi, down, across in cells.by_size(counts[:, 1], counts[:, 0], channels * rows * columns):
        step_x, step_y = steps[roi].T[:, :, None, None, None]
        row, column, k, m = (
            torch.arange(n, device=rois.device, dtype=rois.dtype) for n in (rows, columns, down, across)
        )
        y = starts[roi, 1, :, :, None] + row[:, None, None] * step_y + (k + 0.5) * step_y / down
        x = starts[roi, 0, :, :, None] + column[:, None] * step_x + (m + 0.5) * step_x / across
        y, x = (at.flatten(3) for at in torch.broadcast_tensors(y[..., None], x[..., None, :]))
        yield _Part(roi, rois[roi, 0].long()[:, None, None, None], y, x, gamma * extents[roi])
