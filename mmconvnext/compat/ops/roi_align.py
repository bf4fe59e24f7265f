"""RoIAlign, called as ``mmcv/ops/roi_align.py`` calls the compiled one."""

import torch
import torchvision  # noqa: F401  it defines torch.ops.torchvision
from torch import Tensor

from mmconvnext.compat.ops import roi_align_cpu, roi_align_max


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Lay a grid on each RoI and average bilinear samples over each cell, or take the largest (He et al., ICCV 2017).

    Args:
        input: (b, c, h, w), of any floating dtype and memory format.
        rois: (n, 5) as (index into b, x1, y1, x2, y2), the corners in pixels of the image.
        output: (n, c, aligned_height, aligned_width), overwritten.
        argmax_y: In the output's shape, overwritten with the rows of the largest samples. Unused for an average.
        argmax_x: Likewise, with their columns.
        aligned_height: Rows of the grid.
        aligned_width: Columns of the grid.
        spatial_scale: Pixels of the input to one of the image.
        sampling_ratio: Samples along each side of a cell; 0 takes one a pixel, rounded up.
        pool_mode: 0 for the largest sample, 1 for the average.
        aligned: Whether the first pixel has its centre at 0.5, as it should, or at 0.
    """
    dtype = _compute_dtype(input)
    input, rois = input.to(dtype), rois.to(dtype)
    grid = roi_align_cpu.Grid(aligned_height, aligned_width, spatial_scale, sampling_ratio, aligned)
    if pool_mode == 0:
        for target, result in zip((output, argmax_y, argmax_x), roi_align_max.forward(input, rois, grid)):
            target.copy_(result)
        return
    # One channel is both channels-last and not, and nothing has to be copied for torchvision
    rows = input.is_cpu and input.is_contiguous(memory_format=torch.channels_last) and not input.is_contiguous()
    if rows and roi_align_cpu.fits(rois, grid, *input.shape[2:]):
        output.copy_(roi_align_cpu.forward(input, rois, grid))
    else:
        size = aligned_height, aligned_width
        rois, no_number = _without_no_numbers(rois)
        cells = torch.ops.torchvision.roi_align(input, rois, spatial_scale, *size, sampling_ratio, aligned)
        output.copy_(cells.masked_fill(no_number, 0))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Set ``grad_input``, (b, c, h, w) and all zeros as mmcv gives it, to the gradient of the input.

    ``grad_output`` is (n, c, aligned_height, aligned_width); what else it takes is as in
    :func:`roi_align_forward`.
    """
    dtype = _compute_dtype(grad_output)
    grad_output, rois = grad_output.to(dtype), rois.to(dtype)
    if pool_mode == 0:
        places = argmax_y.to(dtype), argmax_x.to(dtype)
        grad_input += roi_align_max.backward(grad_output, rois, *places, grad_input.shape)
        return
    grid = roi_align_cpu.Grid(aligned_height, aligned_width, spatial_scale, sampling_ratio, aligned)
    if grad_output.is_cpu and roi_align_cpu.fits(rois, grid, *grad_input.shape[2:]):
        grad = roi_align_cpu.backward(grad_output, rois, grid, grad_input.shape)
        grad = grad.to(grad_input.dtype)
        # In place of a sum, which would copy: the zeros are not channels-last
        grad_input.set_(grad.untyped_storage(), grad.storage_offset(), grad.shape, grad.stride())
    else:
        size = aligned_height, aligned_width
        rois, no_number = _without_no_numbers(rois)
        grad_output = grad_output.masked_fill(no_number, 0)
        grad_input += torch.ops.torchvision._roi_align_backward(
            grad_output, rois, spatial_scale, *size, *grad_input.shape, sampling_ratio, aligned
        )


def _without_no_numbers(rois: Tensor) -> tuple[Tensor, Tensor]:
    # Torchvision's operator ends the process at NaN or infinite corners; their cells are 0
    no_number = ~rois.isfinite().all(1)
    return rois.masked_fill(no_number[:, None], 0), no_number[:, None, None, None]


def _compute_dtype(features: Tensor) -> torch.dtype:
    # Torchvision places the samples in the dtype of the features: half precision misses the pixel.
    return torch.promote_types(features.dtype, torch.float32)
