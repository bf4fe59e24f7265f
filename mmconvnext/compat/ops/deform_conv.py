"""Deformable convolution, with the arguments of mmcv's compiled operator in ``mmcv/ops/deform_conv.py``."""
# ruff: noqa: N803, N806  mmcv passes arguments by these names

import weakref

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from mmconvnext.compat.ops import deformable

# mmcv asks for the gradients in two calls, but torchvision computes all of them at once. So the first call keeps the
# gradient of the weight for the second. The key is the scratch tensor that mmcv hands to both calls of a layer; the
# value also has the gradient of the output, by which the second call knows that the entry belongs to it.
_weight_gradients = WeakTensorKeyDictionary()


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
    """Convolve; each tap is moved by its own offset (Dai et al., ICCV 2017).

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
        dilationW: Dilation along x.
        dilationH: Dilation along y.
        group: Groups of the convolution.
        deformable_group: Groups of input channels, each with its own offsets.
        im2col_step: Unused; the compiled operator splits the batch by it.
    """
    settings = deformable.Settings(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    output.copy_(deformable.forward(input, weight, offset, None, None, settings))


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

    ``gradOutput`` is (b, o, out_h, out_w), and the other arguments are those of :func:`deform_conv_forward`.
    """
    settings = deformable.Settings(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    gradients = deformable.backward(gradOutput, input, weight, offset, None, None, settings)
    gradInput += gradients.input
    gradOffset.copy_(gradients.offset)
    _weight_gradients[columns] = weakref.ref(gradOutput), gradients.weight


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

    The other arguments are those of :func:`deform_conv_forward` and :func:`deform_conv_backward_input`.
    """
    settings = deformable.Settings(dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    belongs_to, gradient = _weight_gradients.pop(columns, (lambda: None, None))
    if belongs_to() is not gradOutput:
        # The gradient of the weight depends on the weight's shape only
        gradient = deformable.backward(gradOutput, input, gradWeight, offset, None, None, settings).weight
    gradWeight += scale * gradient
