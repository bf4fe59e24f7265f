"""The entry to the Triton kernels, and what autograd, compilers and tracers see of them.

That is two custom operators on maps (B, H, W, C): ``mmconvnext::block``, the forward, and
``mmconvnext::block_backward``. They change no input and return no view of one. A second derivative is an error. Triton
is imported when a kernel is first launched.
"""

from typing import Any

import torch
from torch import Tensor

from mmconvnext.kernels.tensors import SCHEMA, BlockTensors

FIELDS = len(BlockTensors._fields)
# BlockTensors, stochastic depth's factor of each sample, and the dtype of the matrix products
ARGUMENTS = f'{SCHEMA}, Tensor? sample_scales, ScalarType dtype'


def triton_block(x: Tensor, sample_scales: Tensor | None, t: BlockTensors, memory: str) -> Tensor:
    """Computes a block: (B, C, H, W) to (B, C, H, W) in the dtype of ``x``, channels-last, differentiable once.

    Under autocast the matrix products are in its dtype. Sums, statistics and vectors are always float32.

    Args:
        x: Input.
        sample_scales: Stochastic depth's factor of each sample's branch, (B,).
        t: The block's parameters.
        memory: What training keeps of the block; layer by layer it keeps 12C numbers a pixel. ``speed`` keeps 6C: the
            input, the depthwise convolution's output and the pre-activations. ``balanced`` keeps 2C, without the
            pre-activations; ``min`` keeps C, the input. The rest is computed again in the backward.
    """
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    if not torch.is_grad_enabled():
        memory = 'min'
    maps = x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    out, *_ = block(maps, *t, sample_scales, dtype, memory)
    return out.permute(0, 3, 1, 2)


@torch.library.custom_op(
    'mmconvnext::block',
    mutates_args=(),
    schema=f'(Tensor x, {ARGUMENTS}, str memory) -> (Tensor, Tensor, Tensor, Tensor)',
)
def block(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the output (B, H, W, C), and three tensors for the backward, empty where ``memory`` does not keep them.

    They are the depthwise convolution's output, the pre-activations, and GRN's gx.
    """
    from mmconvnext.kernels.triton import launches  # imports Triton

    t = BlockTensors(*arguments[:FIELDS])
    sample_scales, dtype, memory = arguments[FIELDS:]
    with torch.autocast(x.device.type, enabled=False), torch.cuda.device_of(x):
        out, y, hidden, gx = launches.forward(x.contiguous(), t, sample_scales, dtype, memory == 'speed')
    return (
        out,
        y.new_empty(0) if memory == 'min' else y,
        y.new_empty(0) if hidden is None else hidden,
        y.new_empty(0, dtype=torch.float32) if gx is None else gx,
    )


@block.register_fake
def _(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    t = BlockTensors(*arguments[:FIELDS])
    _, dtype, memory = arguments[FIELDS:]
    samples, height, width, channels = x.shape
    return (
        x.new_empty(x.shape),
        x.new_empty(0 if memory == 'min' else x.shape, dtype=dtype),
        x.new_empty((samples, height, width, 4 * channels) if memory == 'speed' else 0, dtype=dtype),
        x.new_empty(0 if t.grn_gamma is None else (samples, 4 * channels), dtype=torch.float32),
    )


@torch.library.custom_op(
    'mmconvnext::block_backward',
    mutates_args=(),
    schema=f'(Tensor grad_out, Tensor x, Tensor y, Tensor hidden, Tensor gx, {ARGUMENTS}) -> Tensor[]',
)
def block_backward(grad_out: Tensor, x: Tensor, y: Tensor, hidden: Tensor, gx: Tensor, *arguments: Any) -> list[Tensor]:
    """Returns the gradients of the input and of those parameters that the block has, in their dtypes."""
    from mmconvnext.kernels.triton import launches

    t = BlockTensors(*arguments[:FIELDS])
    y_, hidden_, gx_ = (tensor if tensor.numel() else None for tensor in (y, hidden, gx))
    with torch.autocast(x.device.type, enabled=False), torch.cuda.device_of(x):
        grad_x, grads = launches.backward(
            grad_out.contiguous(), x.contiguous(), y_, hidden_, gx_, t, *arguments[FIELDS:]
        )
        named = t._asdict().items()
        return [grad_x, *(grads[name].to(tensor.dtype) for name, tensor in named if tensor is not None)]


@block_backward.register_fake
def _(grad_out: Tensor, x: Tensor, y: Tensor, hidden: Tensor, gx: Tensor, *arguments: Any) -> list[Tensor]:
    return [torch.empty_like(tensor) for tensor in (x, *arguments[:FIELDS]) if tensor is not None]


def _setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
    x, *tensors, sample_scales, ctx.dtype, _ = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(x, *output[1:], *tensors, sample_scales)


def _backward(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    x, y, hidden, gx, *tensors, sample_scales = ctx.saved_tensors
    grads = iter(block_backward(grad_out, x, y, hidden, gx, *tensors, sample_scales, ctx.dtype))
    return next(grads), *(None if tensor is None else next(grads) for tensor in tensors), None, None, None


block.register_autograd(_backward, setup_context=_setup_context)
