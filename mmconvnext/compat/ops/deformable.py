"""Deformable convolution with and without a mask, on torchvision's operator.

Its layouts are mmcv's: the offsets of a tap are dy, then dx; taps go row by row; deform groups come first.
"""

from typing import NamedTuple

import torch
import torchvision  # noqa: F401  it defines torch.ops.torchvision
from torch import Tensor

FAR = 2.0**20  # pixels; an offset by more is as good as this one: outside any map


class Numbers(NamedTuple):
    """What there is to a deformable convolution beside its tensors, in the order of torchvision's operator."""

    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    groups: int
    deform_groups: int


class Gradients(NamedTuple):
    """Of what :func:`forward` takes, in float32 or wider; that of the mask means nothing where there was none."""

    input: Tensor
    weight: Tensor
    offset: Tensor
    mask: Tensor
    bias: Tensor


def forward(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None, numbers: Numbers
) -> Tensor:
    """Convolve with each tap moved by an offset of its own, and its sample times a mask (arXiv 1811.11168).

    A sample is bilinear, with zeros around the map.

    Args:
        input: (b, c, h, w), of any floating dtype.
        weight: (o, c / groups, kernel_h, kernel_w).
        offset: (b, deform_groups * kernel_h * kernel_w * 2, out_h, out_w). What is no number points outside.
        mask: (b, deform_groups * kernel_h * kernel_w, out_h, out_w), or None: all ones.
        bias: (o,), or None: zeros.
        numbers: The rest.

    Returns:
        (b, o, out_h, out_w), float32 or wider.
    """
    tensors = _prepared(input, weight, offset, mask, bias)
    return torch.ops.torchvision.deform_conv2d(*tensors, *numbers, mask is not None)


def backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    numbers: Numbers,
) -> Gradients:
    """Return the gradients of all that :func:`forward` takes; ``grad_output`` is (b, o, out_h, out_w)."""
    tensors = _prepared(input, weight, offset, mask, bias)
    gradients = Gradients(
        *torch.ops.torchvision._deform_conv2d_backward(
            grad_output.to(tensors[0].dtype), *tensors, *numbers, mask is not None
        )
    )
    # Where a sample lies exactly one pixel outside, as in a padded border under offsets of 0, there is a
    # derivative on one side only. Torchvision takes that one, mmcv takes 0.
    inside = _inside(tensors[2], input.shape, weight.shape, numbers)
    grad_offset = gradients.offset.unflatten(1, (numbers.deform_groups, -1, 2)) * inside[:, :, :, None]
    return gradients._replace(offset=grad_offset.flatten(1, 3))


def _prepared(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The tensors as torchvision's operator takes them."""
    # Half precision has no kernel on the CPU, and misses the pixel
    dtype = torch.promote_types(input.dtype, torch.float32)
    input, weight, offset = input.to(dtype), weight.to(dtype), offset.to(dtype)
    # Torchvision reads wherever an offset that is no number leads it, which ends the process
    offset = offset.nan_to_num(nan=FAR).clamp(-FAR, FAR)
    # It takes both tensors even where it uses none
    mask = input.new_zeros(len(input), 1) if mask is None else mask.to(dtype)
    bias = input.new_zeros(len(weight)) if bias is None else bias.to(dtype)
    return input, weight, offset, mask, bias


def _inside(offset: Tensor, shape: torch.Size, kernel: torch.Size, numbers: Numbers) -> Tensor:
    """Whether a sample is less than a pixel away from the map, (b, deform_groups, taps, out_h, out_w)."""
    height, width = shape[2:]
    out_h, out_w = offset.shape[2:]

    def places(size: int, stride: int, pad: int, taps: int, dilation: int) -> Tensor:
        # Integers: a place without an offset is exact, and so is then whether it is 1 outside
        tap, place = (torch.arange(n, device=offset.device) for n in (taps, size))
        return tap[:, None] * dilation + place * stride - pad

    y = places(out_h, numbers.stride_h, numbers.pad_h, kernel[2], numbers.dilation_h)[:, None, :, None]
    x = places(out_w, numbers.stride_w, numbers.pad_w, kernel[3], numbers.dilation_w)[None, :, None, :]
    dy, dx = offset.unflatten(1, (numbers.deform_groups, *kernel[2:], 2)).unbind(4)
    y, x = y + dy, x + dx
    return ((y > -1) & (y < height) & (x > -1) & (x < width)).flatten(2, 3)
