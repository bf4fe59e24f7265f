"""A whole block through the CPU path: what autograd and compilers see of it."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmconvnext.kernels.cpu import ops, passes
from mmconvnext.kernels.tensors import BlockTensors


def block(x: Tensor, tensors: BlockTensors, sample_scales: Tensor | None = None, memory: str = 'balanced') -> Tensor:
    """Output (B, C, H, W) of a block, channels-last and differentiable once.

    Args:
        x: (B, C, H, W).
        tensors: The block's.
        sample_scales: Stochastic depth's factor of each sample's branch, (B,). A branch with factor 0 is not computed.
        memory: What training keeps of a block, in numbers a pixel, where layer by layer it is 12C: ``min`` 2C, its
            input and what the depthwise convolution gives, as compiled code always does; ``balanced`` and ``speed``
            6C, what goes into GELU too, which ``min`` computes again.
    """
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, *tensors))
    if torch.compiler.is_compiling():
        out, _ = ops.block(x.permute(0, 2, 3, 1).contiguous(), *tensors, sample_scales, keep)
        return out.permute(0, 3, 1, 2)
    keep_hidden = keep and memory != 'min'
    return _Block.apply(x.contiguous(memory_format=torch.channels_last), sample_scales, keep, keep_hidden, *tensors)


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, sample_scales: Tensor | None, keep: bool, keep_hidden: bool, *flat: Tensor | None
    ) -> Tensor:
        t = BlockTensors(*flat)  # type: ignore[arg-type]  # autograd passes them one by one
        out, y, hidden = passes.forward(x, t, sample_scales, keep=keep, keep_hidden=keep_hidden)
        if keep:
            ctx.save_for_backward(x, y, sample_scales, *flat, *hidden)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        x, y, sample_scales, *rest = ctx.saved_tensors
        t = BlockTensors(*rest[: len(BlockTensors._fields)])
        grad_x, grads = passes.backward(grad_out, x, y, rest[len(BlockTensors._fields) :], t, sample_scales)
        return grad_x, None, None, None, *(grads.get(name) for name in BlockTensors._fields)
