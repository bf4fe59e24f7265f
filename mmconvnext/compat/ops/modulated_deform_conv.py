"""Deformable convolution with a mask, called as ``mmcv/ops/modulated_deform_conv.py`` calls the compiled one."""

from torch import Tensor

from mmconvnext.compat.ops import deformable


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Convolve with each tap moved by an offset of its own, and its sample times a mask (Zhu et al., CVPR 2019).

    Args:
        input: (b, c, h, w), of any floating dtype.
        weight: (o, c / group, kernel_h, kernel_w).
        bias: (o,), or anything where ``with_bias`` is not set.
        ones: Scratch, unused.
        offset: (b, deformable_group * kernel_h * kernel_w * 2, out_h, out_w), of each tap dy, then dx.
        mask: (b, deformable_group * kernel_h * kernel_w, out_h, out_w), from 0 to 1.
        output: (b, o, out_h, out_w), overwritten.
        columns: Scratch, unused.
        kernel_h: Height of the kernel.
        kernel_w: Width of the kernel.
        stride_h: Stride along y.
        stride_w: Stride along x.
        pad_h: Zeros above, and below.
        pad_w: Zeros on the left, and on the right.
        dilation_h: From a tap to the next along y.
        dilation_w: From a tap to the next along x.
        group: How many parts the channels are convolved in.
        deformable_group: How many parts of the input's channels have offsets and a mask of their own.
        with_bias: Whether to add the bias.
    """
    numbers = deformable.Numbers(stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    output.copy_(deformable.forward(input, weight, offset, mask, bias if with_bias else None, numbers))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Add to the gradients of input, weight and bias, and write those of the offsets and the mask.

    Each ``grad_`` tensor has the shape of what it is the gradient of. ``grad_bias`` is left as it is where
    ``with_bias`` is not set. The rest is as in :func:`modulated_deform_conv_forward`.
    """
    numbers = deformable.Numbers(stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    gradients = deformable.backward(grad_output, input, weight, offset, mask, bias if with_bias else None, numbers)
    grad_input += gradients.input
    grad_weight += gradients.weight
    grad_offset.copy_(gradients.offset)
    grad_mask.copy_(gradients.mask)
    if with_bias:
        grad_bias += gradients.bias
