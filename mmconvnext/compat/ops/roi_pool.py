"""RoI pooling, called as ``mmcv/ops/roi_pool.py`` calls the compiled one, which mmcv has for GPUs only."""

import torch
from torch import Tensor

from mmconvnext.compat.ops import cells

LOWEST = -torch.finfo(torch.float32).max  # what the compiled one starts from, in any dtype


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Lay a grid on each RoI and take the largest pixel that each cell touches (Girshick, ICCV 2015).

    Corners are not rounded, as torchvision's are: each cell reaches from the floor of its first edge to the ceiling
    of its last. The compiled one does not write the cells of a RoI without area; here they are empty.

    Args:
        input: (b, c, h, w), of any floating dtype.
        rois: (n, 5) as (index into b, x1, y1, x2, y2), the corners in pixels of the image, the last ones inclusive.
        output: (n, c, pooled_height, pooled_width), overwritten; 0 where no pixel of the map is in the cell.
        argmax: (n, c, pooled_height, pooled_width) integers, overwritten: y * w + x of the largest pixel, the first
            of equals, or -1.
        pooled_height: Rows of the grid.
        pooled_width: Columns of the grid.
        spatial_scale: Pixels of the input to one of the image.
    """
    channels, height, width = input.shape[1:]
    # Half precision misses the pixel
    dtype = torch.promote_types(input.dtype, torch.float32)
    rois = rois.to(dtype)
    image, (x1, y1), (x2, y2) = rois[:, 0], rois[:, 1:3].T * spatial_scale, (rois[:, 3:].T + 1) * spatial_scale
    empty = ~(rois.isfinite().all(1) & (x2 > x1) & (y2 > y1))
    top, bottom = _edges(y1, y2, empty, pooled_height, height)
    left, right = _edges(x1, x2, empty, pooled_width, width)

    # All cells of all RoIs in a row, each with a rectangle of pixels
    grid = len(rois), pooled_height, pooled_width
    top, bottom = (edge[:, :, None].expand(grid).flatten() for edge in (top, bottom))
    left, right = (edge[:, None, :].expand(grid).flatten() for edge in (left, right))
    image = image.where(~empty, 0).long()[:, None, None].expand(grid).flatten()
    pixels = cells.pixels_of(input.to(dtype))
    values = pixels.new_zeros(len(image), channels)
    places = argmax.new_full((len(image), channels), -1)
    for cell, rows, columns in cells.by_size(bottom - top, right - left, channels):
        y = top[cell, None, None] + torch.arange(rows, device=input.device)[:, None]
        x = left[cell, None, None] + torch.arange(columns, device=input.device)
        place = (y * width + x).flatten(1)  # (k, rows * columns)
        candidates = pixels[image[cell, None] * height * width + place]
        # What is no number is not larger than anything
        candidates = candidates.where(candidates > LOWEST, -torch.inf)
        best, which = candidates.max(1)  # the first of equals
        values[cell] = best.clamp(min=LOWEST)
        places[cell] = place.gather(1, which).where(best > LOWEST, -1).to(places.dtype)
    output.copy_(values.view(*grid, channels).permute(0, 3, 1, 2))
    argmax.copy_(places.view(*grid, channels).permute(0, 3, 1, 2))


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add the gradient of the input to ``grad_input``, (b, c, h, w).

    ``grad_output`` is (n, c, pooled_height, pooled_width); what else it takes is as :func:`roi_pool_forward` left it.
    """
    channels, height, width = grad_input.shape[1:]
    found = argmax >= 0
    image = rois[:, 0].where(rois[:, 0].isfinite(), 0).long()[:, None, None, None]
    channel = torch.arange(channels, device=argmax.device)[:, None, None]
    pixel = ((image * channels + channel) * height * width + argmax)[found]
    # Sums of half precision are too coarse
    grad = grad_input.new_zeros(grad_input.numel(), dtype=torch.promote_types(grad_input.dtype, torch.float32))
    grad.index_add_(0, pixel, grad_output[found].to(grad.dtype))
    grad_input += grad.view_as(grad_input)


def _edges(start: Tensor, end: Tensor, empty: Tensor, count: int, size: int) -> tuple[Tensor, Tensor]:
    """First pixel of each cell, and the one after its last: (n, count) each."""
    cell = torch.arange(count, device=start.device, dtype=start.dtype)
    start, extent = start[:, None], (end - start)[:, None] / count
    first, last = cell * extent + start, (cell + 1) * extent + start
    # The compiled one takes floor and ceiling in single precision whatever the dtype
    first, last = first.float().floor(), last.float().ceil()
    first, last = (edge.masked_fill(empty[:, None], 0).clamp(0, size).long() for edge in (first, last))
    return first, last
