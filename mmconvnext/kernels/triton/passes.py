"""A block's forward and backward pass as the launches that they are made of."""

from types import ModuleType

import torch
from torch import Tensor

from mmconvnext.kernels.tensors import BlockTensors
from mmconvnext.kernels.triton import composition, depthwise, norm_mlp, tables
from mmconvnext.kernels.triton.weights import MLP, taps


def forward(
    x: Tensor, t: BlockTensors, sample_scales: Tensor | None, dtype: torch.dtype, keep_hidden: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Runs the block on (N, H, W, C), contiguous.

    Args:
        x: Input.
        t: The block's tensors.
        sample_scales: Stochastic depth's factor of each sample's branch, (N,).
        dtype: Of the products and of what lies between the kernels.
        keep_hidden: Whether to return what goes into GELU.

    Returns:
        Output in the dtype of ``x``; what the depthwise convolution gives; what goes into GELU (N, H, W, 4C), if
        wanted; the energy of V2's activations (N, 4C), float32.
    """
    y = depthwise.convolve(x, *taps(t), dtype=dtype)
    mlp = MLP.of(t, sample_scales, dtype)
    gamma = None if t.grn_gamma is None else t.grn_gamma.float()
    out, hidden, energy = _mlp_of(y).forward(x, y, mlp, gamma, keep_hidden)
    return out, y, hidden, energy


def backward(
    grad_out: Tensor,
    x: Tensor,
    y: Tensor | None,
    hidden: Tensor | None,
    energy: Tensor | None,
    t: BlockTensors,
    sample_scales: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Gradient of the input in its dtype, and float32 gradients of the block's tensors by name.

    Args:
        grad_out: Gradient of the output, (N, H, W, C), contiguous.
        x: What :func:`forward` was given.
        y: What it returned second, or None to compute it again.
        hidden: What it returned third, or None to compute it again.
        energy: What it returned last.
        t: The block's tensors.
        sample_scales: As in the forward pass.
        dtype: As in the forward pass.
    """
    weight, bias = taps(t)
    if y is None:
        y = depthwise.convolve(x, weight, bias, dtype=dtype)
    mlp = MLP.of(t, sample_scales, dtype)
    gamma = None if t.grn_gamma is None else t.grn_gamma.float()
    grad_y, normed, activation, grad_hidden, grad_b1, grad_gamma = _mlp_of(y).backward(
        grad_out, y, mlp, gamma, hidden, energy
    )
    grads = {'b1': grad_b1}
    if grad_gamma is not None:
        grads['grn_gamma'] = grad_gamma

    # LayerNorm's affine is in the first matrix, so its gradients come from that matrix's
    folded = _product(grad_hidden, normed)
    w1 = t.w1.float()
    grads['norm_weight'] = (folded * w1).sum(0)
    grads['norm_bias'] = w1.t() @ grad_b1
    grads['w1'] = (folded * t.norm_weight.float()).addr_(grad_b1, t.norm_bias.float())
    del grad_hidden, normed

    # Of the branch before layer scale, so that one product gives the gradients of w2 and of layer scale
    before = composition.branch_gradient(grad_out, mlp._replace(layer_scale=None), dtype)
    grad_w2 = _product(before, activation)
    grad_b2 = grad_out.sum((1, 2), dtype=torch.float32)
    grad_b2 = (grad_b2 if mlp.sample_scales is None else grad_b2 * mlp.sample_scales[:, None]).sum(0)
    del before, activation
    if mlp.layer_scale is not None:
        grads['layer_scale'] = (grad_w2 * mlp.w2).sum(1) + grad_b2 * mlp.b2
        grad_w2 *= mlp.layer_scale[:, None]
        grad_b2 *= mlp.layer_scale
    if t.grn_beta is not None:  # in b2, times w2
        grads['grn_beta'] = t.w2.float().t() @ grad_b2
        grad_w2.addr_(grad_b2, t.grn_beta.float())
    grads.update(w2=grad_w2, b2=grad_b2)

    grad_taps, grads['dw_bias'] = depthwise.weight_gradient(x, grad_y)
    # In the weight's own strides, which DDP wants
    grad_weight = torch.empty_like(t.dw_weight, dtype=torch.float32)
    grads['dw_weight'] = grad_weight.copy_(grad_taps.t().reshape(t.dw_weight.shape))
    return depthwise.convolve(grad_y, weight, residual=grad_out, flip=True, dtype=x.dtype), grads


def _mlp_of(y: Tensor) -> ModuleType:
    narrow = tables.has_norm_mlp(y.shape[-1]) and y.dtype in (torch.bfloat16, torch.float16)
    return norm_mlp if narrow else composition


def _product(a: Tensor, b: Tensor) -> Tensor:
    # The sum over pixels of outer products, float32
    a, b = a.flatten(0, 2).t(), b.flatten(0, 2)
    if a.dtype == torch.float32:
        return a @ b
    if a.is_cuda:
        return torch.mm(a, b, out_dtype=torch.float32)
    return a.float() @ b.float()
