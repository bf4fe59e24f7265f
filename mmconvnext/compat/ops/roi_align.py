"""RoIAlign by averaging, called as ``mmcv/ops/roi_align.py`` calls the compiled one."""

import torch
import torchvision  # noqa: F401  it defines torch.ops.torchvision
from torch import Tensor

from mmconvnext.compat.compiled_mmcv import how_to_compile


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
    """Lay a grid on each RoI and average bilinear samples over each cell (He et al., ICCV 2017).

    Args:
        input: (b, c, h, w), of any floating dtype and memory format.
        rois: (n, 5) as (index into b, x1, y1, x2, y2), the corners in pixels of the image.
        output: (n, c, aligned_height, aligned_width), overwritten.
        argmax_y: Of max pooling, unused.
        argmax_x: Of max pooling, unused.
        aligned_height: Rows of the grid.
        aligned_width: Columns of the grid.
        spatial_scale: Pixels of the input to one of the image.
        sampling_ratio: Samples along each side of a cell; 0 takes one a pixel, rounded up.
        pool_mode: 1, the average.
        aligned: Whether the first pixel has its centre at 0.5, as it should, or at 0.

    Raises:
        NotImplementedError: If ``pool_mode`` is 0, the maximum.
    """
    _check_average(pool_mode)
    dtype = _compute_dtype(input)
    grid = aligned_height, aligned_width
    output.copy_(
        torch.ops.torchvision.roi_align(input.to(dtype), rois.to(dtype), spatial_scale, *grid, sampling_ratio, aligned)
    )


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
    """Add the gradient of the input to ``grad_input``, (b, c, h, w).

    ``grad_output`` is (n, c, aligned_height, aligned_width); what else it takes and raises is as in
    :func:`roi_align_forward`.
    """
    _check_average(pool_mode)
    dtype = _compute_dtype(grad_output)
    grid = aligned_height, aligned_width
    grad_input += torch.ops.torchvision._roi_align_backward(
        grad_output.to(dtype),
        rois.to(dtype),
        spatial_scale,
        *grid,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )


def _compute_dtype(features: Tensor) -> torch.dtype:
    # Torchvision places the samples in the dtype of the features: half precision misses the pixel.
    return torch.promote_types(features.dtype, torch.float32)


def _check_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise NotImplementedError(
            "RoIAlign with pool_mode='max' needs mmcv's compiled operators, and the mmcv installed here "
            "has none. Set pool_mode='avg', the default, or install an mmcv that has them. "
            f'{how_to_compile()}'
        )
