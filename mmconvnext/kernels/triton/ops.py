"""The custom operators: what autograd, compilers and tracers see of the kernels.

``mmconvnext::block`` is one block's forward pass and ``mmconvnext::block_backward`` the pass back, on maps
(N, H, W, C). They change nothing that they are given and return nothing of it; to all but the operators themselves the
kernels stay hidden. A gradient of the gradient is an error.
"""

from typing import Any

import torch
from torch import Tensor

from mmconvnext.kernels.tensors import BlockTensors

MEMORY = ('speed', 'balanced', 'min')


@torch.library.custom_op('mmconvnext::block', mutates_args=())
def block(
    x: Tensor,
    dw_weight: Tensor,
    dw_bias: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    layer_scale: Tensor | None,
    grn_gamma: Tensor | None,
    grn_beta: Tensor | None,
    sample_scales: Tensor | None,
    dtype: torch.dtype,
    memory: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output (N, H, W, C), and what the pass back needs: three tensors, empty where ``memory`` does not keep them."""
    from mmconvnext.kernels.triton import passes

    t = BlockTensors(
        dw_weight, dw_bias, norm_weight, norm_bias, w1, b1, w2, b2, layer_scale, grn_gamma, grn_beta
    )
    with torch.autocast(x.device.type, enabled=False), torch.cuda.device_of(x):
        out, y, hidden, energy = passes.forward(x.contiguous(), t, sample_scales, dtype, memory == 'speed')
    empty = y.new_empty(0)
    return (
        out,
        empty if memory == 'min' else y,
        y.new_empty(0) if hidden is None else hidden,
        y.new_empty(0, dtype=torch.float32) if energy is None else energy,
    )


@block.register_fake
def _(
    x: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    w1, grn_gamma, dtype, memory = rest[4], rest[9], rest[12], rest[13]
    wide = (*x.shape[:3], w1.shape[0])
    return (
        x.new_empty(x.shape),
        x.new_empty(0 if memory == 'min' else x.shape, dtype=dtype),
        x.new_empty(wide if memory == 'speed' else 0, dtype=dtype),
        x.new_empty(0 if grn_gamma is None else (x.shape[0], w1.shape[0]), dtype=torch.float32),
    )


@torch.library.custom_op('mmconvnext::block_backward', mutates_args=())
def block_backward(
    grad_out: Tensor,
    x: Tensor,
    y: Tensor,
    hidden: Tensor,
    energy: Tensor,
    dw_weight: Tensor,
    dw_bias: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    layer_scale: Tensor | None,
    grn_gamma: Tensor | None,
    grn_beta: Tensor | None,
    sample_scales: Tensor | None,
    dtype: torch.dtype,
) -> list[Tensor]:
    """Gradients of the input and of each of the block's tensors that there is, in their dtypes."""
    from mmconvnext.kernels.triton import passes

    t = BlockTensors(
        dw_weight, dw_bias, norm_weight, norm_bias, w1, b1, w2, b2, layer_scale, grn_gamma, grn_beta
    )
    kept = [tensor if tensor.numel() else None for tensor in (y, hidden, energy)]
    with torch.autocast(x.device.type, enabled=False), torch.cuda.device_of(x):
        grad_x, grads = passes.backward(
            grad_out.contiguous(), x.contiguous(), *kept, t, sample_scales, dtype
        )
        named = t._asdict().items()
        return [grad_x, *(grads[name].to(tensor.dtype) for name, tensor in named if tensor is not None)]


@block_backward.register_fake
def _(grad_out: Tensor, x: Tensor, y: Tensor, hidden: Tensor, energy: Tensor, *rest: Any) -> list[Tensor]:
    tensors = [tensor for tensor in rest[: len(BlockTensors._fields)] if tensor is not None]
    return [x.new_empty(x.shape), *(tensor.new_empty(tensor.shape) for tensor in tensors)]


def _setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
    x, *tensors, sample_scales, dtype, _ = inputs
    out, *kept = output
    ctx.mark_non_differentiable(*kept)
    ctx.save_for_backward(x, *kept, *tensors, sample_scales)
    ctx.dtype = dtype


def _backward(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    x, y, hidden, energy, *tensors, sample_scales = ctx.saved_tensors
    grads = iter(block_backward(grad_out, x, y, hidden, energy, *tensors, sample_scales, ctx.dtype))
    return next(grads), *(None if tensor is None else next(grads) for tensor in tensors), None, None, None


block.register_autograd(_backward, setup_context=_setup_context)
