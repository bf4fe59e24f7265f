"""Upsampling with a kernel for each pixel, called as ``mmcv/ops/carafe.py`` calls the compiled ones.

mmcv has two operators of one definition, which differ in what memory they are given: ``carafe`` and ``carafe_naive``.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Sum the window around each pixel's source, weighted by its own kernel (Wang et al., ICCV 2019, equation 3).

    With scale factor s, the source of the output's pixel (y, x) is the pixel (y // s, x // s) of the features.

    Args:
        features: (n, c, h, w), of any floating dtype.
        masks: (n, group_size * kernel_size * kernel_size, h * s, w * s), the kernels, rows after groups.
        rfeatures: (n, c, h, w), overwritten with the features, of which the backward pass gets nothing else.
        routput: Memory of the compiled one, unused.
        rmasks: Memory of the compiled one, unused.
        output: (n, c, h * s, w * s), overwritten.
        kernel_size: Side of the window, odd.
        group_size: Groups of channels, each with a kernel of its own.
        scale_factor: s.
    """
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(
    top_grad: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rtop_grad: Tensor,
    rbottom_grad_hs: Tensor,
    rbottom_grad: Tensor,
    rmask_grad: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Write the gradient of the features into ``bottom_grad`` and that of the kernels into ``mask_grad``.

    ``top_grad`` is the gradient of the output; ``rfeatures`` is as :func:`carafe_forward` left it. The other four
    are memory of the compiled one and unused; all else is as there.
    """
    carafe_naive_backward(top_grad, rfeatures, masks, bottom_grad, mask_grad, kernel_size, group_size, scale_factor)


def carafe_naive_forward(
    features: Tensor, masks: Tensor, output: Tensor, kernel_size: int, group_size: int, scale_factor: int
) -> None:
    """Write into ``output`` what :func:`carafe_forward` does, from the same features and masks."""
    dtype = torch.promote_types(features.dtype, torch.float32)  # a window has many summands
    kernels = _split_masks(masks, kernel_size, group_size, scale_factor)
    padded = F.pad(features, [kernel_size // 2] * 4).unflatten(1, (group_size, -1))
    split = _split_pixels(output, group_size, scale_factor)
    total = torch.zeros(split.shape, dtype=dtype, device=output.device)
    # Tap by tap: windows side by side would take kernel_size ** 2 times the features' memory
    for tap, rows, columns in _taps(kernel_size, features):
        total.addcmul_(padded[..., rows, None, columns, None].to(dtype), kernels[:, :, tap].unsqueeze(2).to(dtype))
    split.copy_(total)


def carafe_naive_backward(
    top_grad: Tensor,
    features: Tensor,
    masks: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Write what :func:`carafe_backward` does, from the features themselves."""
    dtype = torch.promote_types(features.dtype, torch.float32)
    kernels = _split_masks(masks, kernel_size, group_size, scale_factor)
    kernels_grad = _split_masks(mask_grad, kernel_size, group_size, scale_factor)
    padded = F.pad(features, [kernel_size // 2] * 4).unflatten(1, (group_size, -1)).to(dtype)
    padded_grad = torch.zeros_like(padded)
    upper = _split_pixels(top_grad, group_size, scale_factor).to(dtype)
    for tap, rows, columns in _taps(kernel_size, features):
        spread = (upper * kernels[:, :, tap].unsqueeze(2).to(dtype)).flatten(5).flatten(3, 4).flatten(1, 2)
        # Pooling adds up neighbours in a third of the time of a sum over two dimensions apart
        lower = F.avg_pool2d(spread, scale_factor, divisor_override=1)
        padded_grad[..., rows, columns] += lower.unflatten(1, (group_size, -1))
        kernels_grad[:, :, tap] = (upper * padded[..., rows, None, columns, None]).sum(2).to(mask_grad.dtype)
    bottom_grad.copy_(F.pad(padded_grad.flatten(1, 2), [-(kernel_size // 2)] * 4))  # less than 0 cuts off


def _taps(kernel_size: int, features: Tensor) -> Iterator[tuple[int, slice, slice]]:
    """Yield each tap's number in the kernel, and where it finds the pixels' neighbours in the padded features."""
    height, width = features.shape[2:]
    for tap in range(kernel_size**2):
        row, column = divmod(tap, kernel_size)
        yield tap, slice(row, row + height), slice(column, column + width)


def _split_pixels(x: Tensor, groups: int, scale: int) -> Tensor:
    """View (n, c, h * s, w * s) as (n, groups, c / groups, h, s, w, s)."""
    return x.unflatten(3, (-1, scale)).unflatten(2, (-1, scale)).unflatten(1, (groups, -1))


def _split_masks(masks: Tensor, kernel_size: int, groups: int, scale: int) -> Tensor:
    """View (n, groups * k * k, h * s, w * s) as (n, groups, k * k, h, s, w, s)."""
    return masks.unflatten(3, (-1, scale)).unflatten(2, (-1, scale)).unflatten(1, (groups, kernel_size**2))
