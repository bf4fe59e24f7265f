"""The CPU path as custom operators, which is what compilers see of it.

``mmconvnext::cpu_block`` is one block's forward pass and ``mmconvnext::cpu_block_backward`` the pass back, on maps
(N, H, W, C). A gradient of the gradient is an error.
"""

from typing import Any

import torch
from torch import Tensor

from mmconvnext.kernels.cpu import passes
from mmconvnext.kernels.tensors import SCHEMA, BlockTensors

FIELDS = len(BlockTensors._fields)
# BlockTensors, and stochastic depth's factor of each sample
ARGUMENTS = f'{SCHEMA}, Tensor? sample_scales'


@torch.library.custom_op(
    'mmconvnext::cpu_block', mutates_args=(), schema=f'(Tensor x, {ARGUMENTS}, bool keep) -> (Tensor, Tensor)'
)
def block(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    """Output (N, H, W, C), and what the depthwise convolution gives for the pass back; empty if not ``keep``.

    The hidden layer is not returned: as one tensor it would have to be copied together, which costs what computing it
    again does.
    """
    *tensors, sample_scales, keep = arguments
    out, y, _ = passes.forward(
        x.permute(0, 3, 1, 2), BlockTensors(*tensors), sample_scales, keep=keep, keep_hidden=False
    )
    return out.permute(0, 2, 3, 1), y.permute(0, 2, 3, 1) if keep else x.new_empty(0)


@block.register_fake
def _(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(x.shape if arguments[-1] else 0)


@torch.library.custom_op(
    'mmconvnext::cpu_block_backward',
    mutates_args=(),
    schema=f'(Tensor grad_out, Tensor x, Tensor y, {ARGUMENTS}) -> Tensor[]',
)
def block_backward(grad_out: Tensor, x: Tensor, y: Tensor, *arguments: Any) -> list[Tensor]:
    """Gradients of the input and of each of the block's tensors that there is."""
    *tensors, sample_scales = arguments
    t = BlockTensors(*tensors)
    grad_out, x, y = (tensor.permute(0, 3, 1, 2) for tensor in (grad_out, x, y))
    grad_x, grads = passes.backward(grad_out, x, y, [], t, sample_scales)
    named = t._asdict().items()
    return [grad_x.permute(0, 2, 3, 1), *(grads[name] for name, tensor in named if tensor is not None)]


@block_backward.register_fake
def _(grad_out: Tensor, x: Tensor, y: Tensor, *arguments: Any) -> list[Tensor]:
    return [torch.empty_like(tensor) for tensor in (x, *arguments[:FIELDS]) if tensor is not None]


def _setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
    x, *arguments, _ = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, output[1], *arguments)


def _backward(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    x, y, *arguments = ctx.saved_tensors
    grads = iter(block_backward(grad_out.contiguous(), x, y, *arguments))
    return next(grads), *(None if tensor is None else next(grads) for tensor in arguments[:FIELDS]), None, None


block.register_autograd(_backward, setup_context=_setup_context)
