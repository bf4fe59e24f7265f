"""The custom operators: what autograd, compilers and tracers see of the kernels.

``mmconvnext::block`` is one block's forward pass and ``mmconvnext::block_backward`` the pass back, on maps
(N, H, W, C). They change nothing that they are given and return nothing of it; to all but the operators themselves the
kernels stay hidden. A gradient of the gradient is an error.
"""

from typing import Any

import torch
from torch import Tensor

from mmconvnext.kernels.tensors import SCHEMA, BlockTensors

FIELDS = len(BlockTensors._fields)
# BlockTensors, stochastic depth's factor of each sample, and the dtype of the products
ARGUMENTS = f'{SCHEMA}, Tensor? sample_scales, ScalarType dtype'


@torch.library.custom_op(
    'mmconvnext::block',
    mutates_args=(),
    schema=f'(Tensor x, {ARGUMENTS}, str memory) -> (Tensor, Tensor, Tensor, Tensor)',
)
def block(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output (N, H, W, C), and what the pass back needs: three tensors, empty where ``memory`` does not keep them."""
    from mmconvnext.kernels.triton import passes  # here, since it imports Triton

    t = BlockTensors(*arguments[:FIELDS])
    sample_scales, dtype, memory = arguments[FIELDS:]
    with torch.autocast(x.device.type, enabled=False), torch.cuda.device_of(x):
        out, y, hidden, energy = passes.forward(x.contiguous(), t, sample_scales, dtype, memory == 'speed')
    return (
        out,
        y.new_empty(0) if memory == 'min' else y,
        y.new_empty(0) if hidden is None else hidden,
        y.new_empty(0, dtype=torch.float32) if energy is None else energy,
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
    schema=f'(Tensor grad_out, Tensor x, Tensor y, Tensor hidden, Tensor energy, {ARGUMENTS}) -> Tensor[]',
)
def block_backward(
    grad_out: Tensor, x: Tensor, y: Tensor, hidden: Tensor, energy: Tensor, *arguments: Any
) -> list[Tensor]:
    """Gradients of the input and of each of the block's tensors that there is, in their dtypes."""
    from mmconvnext.kernels.triton import passes

    t = BlockTensors(*arguments[:FIELDS])
    y_, hidden_, energy_ = (tensor if tensor.numel() else None for tensor in (y, hidden, energy))
    with torch.autocast(x.device.type, enabled=False), torch.cuda.device_of(x):
        grad_x, grads = passes.backward(
            grad_out.contiguous(), x.contiguous(), y_, hidden_, energy_, t, *arguments[FIELDS:]
        )
        named = t._asdict().items()
        return [grad_x, *(grads[name].to(tensor.dtype) for name, tensor in named if tensor is not None)]


@block_backward.register_fake
def _(grad_out: Tensor, x: Tensor, y: Tensor, hidden: Tensor, energy: Tensor, *arguments: Any) -> list[Tensor]:
    return [torch.empty_like(tensor) for tensor in (x, *arguments[:FIELDS]) if tensor is not None]


def _setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
    x, *tensors, sample_scales, ctx.dtype, _ = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(x, *output[1:], *tensors, sample_scales)


def _backward(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    x, y, hidden, energy, *tensors, sample_scales = ctx.saved_tensors
    grads = iter(block_backward(grad_out, x, y, hidden, energy, *tensors, sample_scales, ctx.dtype))
    return next(grads), *(None if tensor is None else next(grads) for tensor in tensors), None, None, None


block.register_autograd(_backward, setup_context=_setup_context)
