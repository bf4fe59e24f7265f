"""Deformable convolution, called as ``mmcv/ops/deform_conv.py`` calls the compiled one."""
# ruff: noqa: N803, N806  mmcv passes arguments by these names

import weakref

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from mmconvnext.compat.ops import deformable

# mmcv asks for the gradients in two calls, and torchvision computes them all in either. The second call finds here
# what the first has left, by the scratch tensor that one layer's forward pass hands to both: with the gradient of
# the output it belongs to, the gradient of the weight.
_left_over = WeakTensorKeyDictionary()


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Convolve with each tap moved by an offset of its own (Dai et al., ICCV 2017).

    Args:
        input: (b, c, h, w), of any floating dtype.
        weight: (o, c / group, kH, kW).
        offset: (b, deformable_group * kH * kW * 2, out_h, out_w), of each tap dy, then dx.
        output: (b, o, out_h, out_w), overwritten.
        columns: Scratch, unused.
        ones: Scratch, unused.
        kW: Width of the kernel.
        kH: Height of the kernel.
        dW: Stride along x.
        dH: Stride along y.
        padW: Zeros on the left, and on the right.
        padH: Zeros above, and below.
        dilationW: From a tap to the next along x.
        dilationH: From a tap to the next along y.
        group: How many parts the channels are convolved in.
        deformable_group: How many parts of the input's channels have offsets of their own.
        im2col_step: How the compiled one splits the batch, unused.
    """
    numbers = deformable.Numbers(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    output.copy_(deformable.forward(input, weight, offset, None, None, numbers))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Add the gradient of the input to ``gradInput`` and write that of the offsets into ``gradOffset``.

    ``gradOutput`` is (b, o, out_h, out_w), and the rest as in :func:`deform_conv_forward`.
    """
    numbers = deformable.Numbers(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    gradients = deformable.backward(gradOutput, input, weight, offset, None, None, numbers)
    gradInput += gradients.input
    gradOffset.copy_(gradients.offset)
    _left_over[columns] = weakref.ref(gradOutput), gradients.weight


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Add ``scale`` times the gradient of the weight to ``gradWeight``, (o, c / group, kH, kW).

    The rest is as in :func:`deform_conv_forward` and :func:`deform_conv_backward_input`.
    """
    numbers = deformable.Numbers(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    belongs_to, gradient = _left_over.pop(columns, (lambda: None, None))
    if belongs_to() is not gradOutput:
        # It does not depend on the weight, only on its shape
        gradient = deformable.backward(gradOutput, input, gradWeight, offset, None, None, numbers).weight
    gradWeight += scale * gradient
