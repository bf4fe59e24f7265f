"""RoIAlign by averaging, called as ``mmcv/ops/roi_align.py`` calls the compiled one."""

from __future__ import annotations

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
    """Lay a grid on each RoI and average the bilinearly sampled input over each cell (He et al., 2017).

    Args:
        input: (b, c, h, w), of any floating dtype and memory format.
        rois: (n, 5) as (index into b, x1, y1, x2, y2), the corners in pixels of the image.
        output: (n, c, aligned_height, aligned_width), overwritten.
        argmax_y: Of max pooling, unused.
        argmax_x: Of max pooling, unused.
        aligned_height: Rows of the grid.
        aligned_width: Columns of the grid.
        spatial_scale: Pixels of the input to one of the image.
        sampling_ratio: Samples along either side of a cell; 0 takes as many as it has pixels, rounded up.
        pool_mode: 1, which is the average.
        aligned: Whether pixel (0, 0) has its centre at (0.5, 0.5); if not, at (0, 0).

    Raises:
        NotImplementedError: If ``pool_mode`` is 0, which is the maximum.
    """
    _check_average(pool_mode)
    dtype = _compute_dtype(input)
    output.copy_(
        torch.ops.torchvision.roi_align(
            input.to(dtype), rois.to(dtype), spatial_scale, aligned_height, aligned_width, sampling_ratio, aligned
        )
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
    """Add to ``grad_input`` (b, c, h, w) what ``grad_output`` (n, c, aligned_height, aligned_width) says.

    The other arguments and the error are those of :func:`roi_align_forward`.
    """
    _check_average(pool_mode)
    dtype = _compute_dtype(grad_output)
    grad_input += torch.ops.torchvision._roi_align_backward(
        grad_output.to(dtype),
        rois.to(dtype),
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )


def _compute_dtype(features: Tensor) -> torch.dtype:
    # Torchvision has no bf16 kernel, and places samples in the dtype it is given: too coarsely in fp16.
    return torch.promote_types(features.dtype, torch.float32)


def _check_average(pool_mode: int) -> None:
    if pool_mode != 1:
        raise NotImplementedError(
            "RoIAlign with pool_mode='max' needs mmcv's compiled operators, which the mmcv installed here lacks. "
            f"Set pool_mode='avg', as every published model does. {how_to_compile()}"
        )
