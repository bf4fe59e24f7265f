"""Deformable convolution with and without a mask, on torchvision's operator.

Its layouts are mmcv's: the offsets of a tap are dy, then dx; taps go row by row; deform groups come first.
"""

from typing import NamedTuple

import torch
import torchvision  # noqa: F401  it defines torch.ops.torchvision
from torch import Tensor

FAR = 2.0**20  # pixels; every larger offset is outside of any map, too


class Settings(NamedTuple):
    """The arguments of a deformable convolution that are not tensors, in the order of torchvision's operator."""

    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    groups: int
    deform_groups: int


class Gradients(NamedTuple):
    """Gradients of the arguments of :func:`forward`, in float32 or wider; without a mask, ``mask`` is meaningless."""

    input: Tensor
    weight: Tensor
    offset: Tensor
    mask: Tensor
    bias: Tensor


def forward(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None, settings: Settings
) -> Tensor:
    """Convolve; each tap is moved by its own offset, and its sample is multiplied by a mask (arXiv 1811.11168).

    A sample is bilinear, with zeros around the map.

    Args:
        input: (b, c, h, w), of any floating dtype.
        weight: (o, c / groups, kernel_h, kernel_w).
        offset: (b, deform_groups * kernel_h * kernel_w * 2, out_h, out_w). NaN or infinity is outside of the map.
        mask: (b, deform_groups * kernel_h * kernel_w, out_h, out_w), or None: all ones.
        bias: (o,), or None: zeros.
        settings: The other arguments.

    Returns:
        (b, o, out_h, out_w), float32 or wider.
    """
    tensors = _prepared(input, weight, offset, mask, bias)
    return torch.ops.torchvision.deform_conv2d(*tensors, *settings, mask is not None)


def backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    settings: Settings,
) -> Gradients:
    """Return the gradients of all that :func:`forward` takes; ``grad_output`` is (b, o, out_h, out_w)."""
    tensors = _prepared(input, weight, offset, mask, bias)
    gradients = Gradients(
        *torch.ops.torchvision._deform_conv2d_backward(
            grad_output.to(tensors[0].dtype), *tensors, *settings, mask is not None
        )
    )
    # A sample exactly one pixel outside, as in a padded border with offsets of 0, has a derivative on one side
    # only. Torchvision takes that one, mmcv takes 0.
    inside = _inside(tensors[2], input.shape, weight.shape, settings)
    grad_offset = gradients.offset.unflatten(1, (settings.deform_groups, -1, 2)) * inside[:, :, :, None]
    return gradients._replace(offset=grad_offset.flatten(1, 3))


def _prepared(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The tensors as torchvision's operator takes them."""
    # Half precision has no kernel on the CPU, and is too coarse for coordinates
    dtype = torch.promote_types(input.dtype, torch.float32)
    input, weight, offset = input.to(dtype), weight.to(dtype), offset.to(dtype)
    # With NaN or infinite offsets torchvision reads outside of its memory, which ends the process
    offset = offset.nan_to_num(nan=FAR).clamp(-FAR, FAR)
    # The operator takes both tensors, even where it does not use them
    mask = input.new_zeros(len(input), 1) if mask is None else mask.to(dtype)
    bias = input.new_zeros(len(weight)) if bias is None else bias.to(dtype)
    return input, weight, offset, mask, bias


def _inside(offset: Tensor, shape: torch.Size, kernel: torch.Size, settings: Settings) -> Tensor:
    """Whether a sample is less than a pixel away from the map, (b, deform_groups, taps, out_h, out_w)."""
    height, width = shape[2:]
    out_h, out_w = offset.shape[2:]

    def places(size: int, stride: int, pad: int, taps: int, dilation: int) -> Tensor:
        # Integers are exact, so it is decided exactly whether a place is 1 pixel outside
        tap, place = (torch.arange(n, device=offset.device) for n in (taps, size))
        return tap[:, None] * dilation + place * stride - pad

    y = places(out_h, settings.stride_h, settings.pad_h, kernel[2], settings.dilation_h)[:, None, :, None]
    x = places(out_w, settings.stride_w, settings.pad_w, kernel[3], settings.dilation_w)[None, :, None, :]
    dy, dx = offset.unflatten(1, (settings.deform_groups, *kernel[2:], 2)).unbind(4)
    y, x = y + dy, x + dx
    return ((y > -1) & (y < height) & (x > -1) & (x < width)).flatten(2, 3)
