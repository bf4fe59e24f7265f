"""The CPU path as custom operators, which is what compilers see of it.

``mmconvnext::cpu_block`` is one block's forward pass and ``mmconvnext::cpu_block_backward`` the pass back, on maps
(N, H, W, C). A gradient of the gradient is an error.
"""

from typing import Any

import torch
from torch import Tensor

from mmconvnext.kernels.cpu import passes
from mmconvnext.kernels.tensors import BlockTensors

FIELDS = len(BlockTensors._fields)
# BlockTensors, and stochastic depth's factor of each sample
ARGUMENTS = (
    'Tensor dw_weight, Tensor dw_bias, Tensor norm_weight, Tensor norm_bias, Tensor w1, Tensor b1, Tensor w2, '
    'Tensor b2, Tensor? layer_scale, Tensor? grn_gamma, Tensor? grn_beta, Tensor? sample_scales'
)


@torch.library.custom_op(
    'mmconvnext::cpu_block', mutates_args=(), schema=f'(Tensor x, {ARGUMENTS}, bool keep) -> (Tensor, Tensor, Tensor)'
)
def block(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Output (N, H, W, C), and what the pass back needs: (N, H, W, C) and (N * H * W, 4C), empty if not ``keep``."""
    *tensors, sample_scales, keep = arguments
    t = BlockTensors(*tensors)
    maps = x.permute(0, 3, 1, 2)
    out, y, chunks = passes.forward(maps, t, sample_scales, keep)
    out = out.permute(0, 2, 3, 1)
    if not keep:
        return out, x.new_empty(0), x.new_empty(0)
    hidden = x.new_empty(x.shape[:3].numel(), len(t.w1))
    for chunk, h in zip(passes.hidden_chunks(maps, t, sample_scales), chunks):
        hidden[slice(*chunk)] = h
    return out, y.permute(0, 2, 3, 1), hidden


@block.register_fake
def _(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    samples, height, width, channels = x.shape
    out = x.new_empty(x.shape)
    if not arguments[-1]:
        return out, x.new_empty(0), x.new_empty(0)
    return out, x.new_empty(x.shape), x.new_empty(samples * height * width, 4 * channels)


@torch.library.custom_op(
    'mmconvnext::cpu_block_backward',
    mutates_args=(),
    schema=f'(Tensor grad_out, Tensor x, Tensor y, Tensor hidden, {ARGUMENTS}) -> Tensor[]',
)
def block_backward(grad_out: Tensor, x: Tensor, y: Tensor, hidden: Tensor, *arguments: Any) -> list[Tensor]:
    """Gradients of the input and of each of the block's tensors that there is."""
    *tensors, sample_scales = arguments
    t = BlockTensors(*tensors)
    grad_out, x, y = (tensor.permute(0, 3, 1, 2) for tensor in (grad_out, x, y))
    parts = (hidden[slice(*chunk)] for chunk in passes.hidden_chunks(x, t, sample_scales))
    grad_x, grads = passes.backward(grad_out, x, y, parts, t, sample_scales)
    named = t._asdict().items()
    return [grad_x.permute(0, 2, 3, 1), *(grads[name] for name, tensor in named if tensor is not None)]


@block_backward.register_fake
def _(grad_out: Tensor, x: Tensor, y: Tensor, hidden: Tensor, *arguments: Any) -> list[Tensor]:
    return [torch.empty_like(tensor) for tensor in (x, *arguments[:FIELDS]) if tensor is not None]


def _setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
    x, *arguments, _ = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(x, *output[1:], *arguments)


def _backward(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    x, y, hidden, *arguments = ctx.saved_tensors
    grads = iter(block_backward(grad_out.contiguous(), x, y, hidden, *arguments))
    return next(grads), *(None if tensor is None else next(grads) for tensor in arguments[:FIELDS]), None, None


block.register_autograd(_backward, setup_context=_setup_context)
