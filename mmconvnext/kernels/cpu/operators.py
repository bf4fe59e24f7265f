"""The entry to the CPU path, and what autograd and compilers see of it.

Eager code runs a ``torch.autograd.Function``. Compilers see two custom operators on maps (B, H, W, C):
``mmconvnext::cpu_block``, the forward, and ``mmconvnext::cpu_block_backward``. A second derivative is an error in both.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmconvnext.kernels.cpu.chunked_backward import backward
from mmconvnext.kernels.cpu.chunked_forward import forward, prepare
from mmconvnext.kernels.tensors import SCHEMA, BlockTensors

FIELDS = len(BlockTensors._fields)
# BlockTensors, and stochastic depth's factor of each sample
ARGUMENTS = f'{SCHEMA}, Tensor? sample_scales'


def cpu_block(x: Tensor, sample_scales: Tensor | None, t: BlockTensors, memory: str) -> Tensor:
    """Computes a block: (B, C, H, W) to (B, C, H, W), channels-last, differentiable once.

    Args:
        x: Input.
        sample_scales: Stochastic depth's factor of each sample's branch, (B,). A branch with factor 0 is not computed.
        t: The block's parameters.
        memory: What training keeps of the block; layer by layer it keeps 12C numbers a pixel. ``min`` keeps 2C, the
            input and the depthwise convolution's output, as compiled code always does. ``balanced`` and ``speed`` keep
            6C, the pre-activations too, which ``min`` computes again.
    """
    keep = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in (x, *t))
    if torch.compiler.is_compiling():
        out, _ = cpu_block_operator(x.permute(0, 2, 3, 1).contiguous(), *t, sample_scales, keep)
        return out.permute(0, 3, 1, 2)
    x = x.contiguous(memory_format=torch.channels_last)
    return _Block.apply(x, sample_scales, keep, keep and memory != 'min', *t)


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, sample_scales: Tensor | None, keep: bool, keep_hidden: bool, *tensors: Tensor | None
    ) -> Tensor:
        t = BlockTensors(*tensors)  # type: ignore[arg-type]  # autograd passes them one by one
        out, y, pre_activations = _forward(x, t, sample_scales, keep, keep_hidden)
        if keep:
            ctx.save_for_backward(x, y, sample_scales, *tensors, *pre_activations)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        x, y, sample_scales, *rest = ctx.saved_tensors
        grad_x, grads = backward(grad_out, x, y, rest[FIELDS:], BlockTensors(*rest[:FIELDS]), sample_scales)
        return grad_x, None, None, None, *(grads.get(name) for name in BlockTensors._fields)


def _forward(
    x: Tensor, t: BlockTensors, sample_scales: Tensor | None, keep: bool, keep_hidden: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    prepared = prepare(t, x.numel() // x.shape[1], fuse_gelu=not keep_hidden)
    return forward(x, prepared, sample_scales, keep=keep)


@torch.library.custom_op(
    'mmconvnext::cpu_block', mutates_args=(), schema=f'(Tensor x, {ARGUMENTS}, bool keep) -> (Tensor, Tensor)'
)
def cpu_block_operator(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    """Returns the output (B, H, W, C), and the depthwise convolution's output, empty if not ``keep``.

    It keeps no pre-activations: the chunks would have to be copied into one tensor, which takes as long as computing
    them again.
    """
    *tensors, sample_scales, keep = arguments
    out, y, _ = _forward(x.permute(0, 3, 1, 2), BlockTensors(*tensors), sample_scales, keep, keep_hidden=False)
    return out.permute(0, 2, 3, 1), y.permute(0, 2, 3, 1) if keep else x.new_empty(0)


@cpu_block_operator.register_fake
def _(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(x.shape if arguments[-1] else 0)


@torch.library.custom_op(
    'mmconvnext::cpu_block_backward',
    mutates_args=(),
    schema=f'(Tensor grad_out, Tensor x, Tensor y, {ARGUMENTS}) -> Tensor[]',
)
def cpu_block_backward_operator(grad_out: Tensor, x: Tensor, y: Tensor, *arguments: Any) -> list[Tensor]:
    """Returns the gradients of the input and of those parameters that the block has."""
    *tensors, sample_scales = arguments
    t = BlockTensors(*tensors)
    grad_out, x, y = (tensor.permute(0, 3, 1, 2) for tensor in (grad_out, x, y))
    grad_x, grads = backward(grad_out, x, y, [], t, sample_scales)
    named = t._asdict().items()
    return [grad_x.permute(0, 2, 3, 1), *(grads[name] for name, tensor in named if tensor is not None)]


@cpu_block_backward_operator.register_fake
def _(grad_out: Tensor, x: Tensor, y: Tensor, *arguments: Any) -> list[Tensor]:
    return [torch.empty_like(tensor) for tensor in (x, *arguments[:FIELDS]) if tensor is not None]


def _setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
    x, *arguments, _ = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(x, output[1], *arguments)


def _backward(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    x, y, *arguments = ctx.saved_tensors
    grads = iter(cpu_block_backward_operator(grad_out.contiguous(), x, y, *arguments))
    return next(grads), *(None if tensor is None else next(grads) for tensor in arguments[:FIELDS]), None, None


cpu_block_operator.register_autograd(_backward, setup_context=_setup_context)
