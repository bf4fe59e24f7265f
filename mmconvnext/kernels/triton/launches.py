"""Forward and backward of a block as launches of the kernels."""

from types import ModuleType

import torch
from torch import Tensor

from mmconvnext.kernels.tensors import BlockTensors
from mmconvnext.kernels.triton import depthwise, norm_mlp, tiles, unfused
from mmconvnext.kernels.triton.folded import FoldedMLP, taps


def forward(
    x: Tensor, t: BlockTensors, sample_scales: Tensor | None, dtype: torch.dtype, keep_hidden: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Computes a block on maps (B, H, W, C), contiguous.

    Args:
        x: Input.
        t: The block's parameters.
        sample_scales: Stochastic depth's factor of each sample's branch, (B,).
        dtype: Of the matrix products, and of the tensors between the kernels.
        keep_hidden: Whether to return the pre-activations.

    Returns:
        The output in the dtype of ``x``; the depthwise convolution's output; the pre-activations (B, H, W, 4C) or None;
        with GRN, the L2 norms of the activations (B, 4C), float32, else None.
    """
    t = t.to(torch.float32)
    y = depthwise.convolve(x, *taps(t), dtype=dtype)
    out, hidden, gx = _module_for(y).forward(x, y, FoldedMLP.of(t, sample_scales, dtype), t.grn_gamma, keep_hidden)
    return out, y, hidden, gx


def backward(
    grad_out: Tensor,
    x: Tensor,
    y: Tensor | None,
    hidden: Tensor | None,
    gx: Tensor | None,
    t: BlockTensors,
    sample_scales: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the gradient of the input in its dtype, and float32 gradients of the parameters by name.

    Args:
        grad_out: Gradient of the output, (B, H, W, C), contiguous.
        x: Input of the forward.
        y: Output of the depthwise convolution, or None to compute it again.
        hidden: Pre-activations, or None to compute them again.
        gx: With GRN, the L2 norms that the forward returned.
        t: The block's parameters.
        sample_scales: As in the forward.
        dtype: As in the forward.
    """
    grad_weight = torch.empty_like(t.dw_weight, dtype=torch.float32)  # in the weight's strides, which DDP wants
    t = t.to(torch.float32)
    weight, bias = taps(t)
    if y is None:
        y = depthwise.convolve(x, weight, bias, dtype=dtype)
    mlp = FoldedMLP.of(t, sample_scales, dtype)
    grad_y, normed, activation, grad_hidden, grad_b1, grad_gamma = _module_for(y).backward(
        grad_out, y, mlp, t.grn_gamma, hidden, gx
    )
    grads = {'b1': grad_b1}
    if grad_gamma is not None:
        grads['grn_gamma'] = grad_gamma

    # LayerNorm's weight and bias are folded into the first linear layer, so their gradients follow from that layer's
    folded = _product(grad_hidden, normed)
    grads['norm_weight'] = (folded * t.w1).sum(0)
    grads['norm_bias'] = t.w1.t() @ grad_b1
    grads['w1'] = (folded * t.norm_weight).addr_(grad_b1, t.norm_bias)
    del grad_hidden, normed

    # First without layer scale: then one product gives the gradients of both w2 and layer scale
    unscaled = unfused.branch_gradient(grad_out, mlp._replace(layer_scale=None), dtype)
    grad_w2 = _product(unscaled, activation)
    grad_b2 = grad_out.sum((1, 2), dtype=torch.float32)
    grad_b2 = (grad_b2 if mlp.sample_scales is None else grad_b2 * mlp.sample_scales[:, None]).sum(0)
    del unscaled, activation
    if mlp.layer_scale is not None:
        grads['layer_scale'] = (grad_w2 * mlp.w2).sum(1) + grad_b2 * mlp.b2
        grad_w2 *= mlp.layer_scale[:, None]
        grad_b2 *= mlp.layer_scale
    if t.grn_beta is not None:  # folded into b2, times w2
        grads['grn_beta'] = t.w2.t() @ grad_b2
        grad_w2.addr_(grad_b2, t.grn_beta)
    grads.update(w2=grad_w2, b2=grad_b2)

    grad_taps, grads['dw_bias'] = depthwise.weight_gradient(x, grad_y)
    grads['dw_weight'] = grad_weight.copy_(grad_taps.t().reshape(t.dw_weight.shape))
    return depthwise.convolve(grad_y, weight, residual=grad_out, flip=True, dtype=x.dtype), grads


def _module_for(y: Tensor) -> ModuleType:
    # What computes everything behind the depthwise convolution
    fused = tiles.has_norm_mlp(y.shape[-1]) and y.dtype in (torch.bfloat16, torch.float16)
    return norm_mlp if fused else unfused


def _product(a: Tensor, b: Tensor) -> Tensor:
    # a.T @ b over all pixels, float32
    a, b = a.flatten(0, 2).t(), b.flatten(0, 2)
    if a.dtype == torch.float32:
        return a @ b
    if a.is_cuda:
        return torch.mm(a, b, out_dtype=torch.float32)
    return a.float() @ b.float()
