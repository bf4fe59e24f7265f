"""What follows the depthwise convolution where one kernel cannot hold it: PyTorch's own matrix products and LayerNorm.

These are the stages where the products outweigh all else, and float32, which Triton multiplies slowly.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from mmconvnext.kernels.grn import Response
from mmconvnext.kernels.tensors import EPS
from mmconvnext.kernels.triton.weights import MLP


def forward(
    x: Tensor, y: Tensor, mlp: MLP, grn_gamma: Tensor | None, keep_hidden: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """As :func:`mmconvnext.kernels.triton.norm_mlp.forward`."""
    normed = F.layer_norm(y, y.shape[-1:], eps=EPS)
    hidden = F.linear(normed, mlp.w1, mlp.b1.to(y.dtype))
    del normed
    activation = F.gelu(hidden)
    energy = None
    if grn_gamma is not None:
        energy = torch.linalg.vector_norm(activation, dim=(1, 2), dtype=torch.float32)
        activation *= _of_pixels(Response(grn_gamma, energy).scale(), y.dtype)
    branch = F.linear(activation, mlp.w2, mlp.b2.to(y.dtype))
    return _add(x, branch, mlp), hidden if keep_hidden else None, energy


def backward(
    grad_out: Tensor, y: Tensor, mlp: MLP, grn_gamma: Tensor | None, hidden: Tensor | None, energy: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """As :func:`mmconvnext.kernels.triton.norm_mlp.backward`."""
    normed, mean, rstd = torch.native_layer_norm(y, y.shape[-1:], None, None, EPS)
    if hidden is None:
        hidden = F.linear(normed, mlp.w1, mlp.b1.to(y.dtype))
    activation = F.gelu(hidden)
    grad_activation = branch_gradient(grad_out, mlp, y.dtype) @ mlp.w2
    grad_gamma = None
    if grn_gamma is not None and energy is not None:
        response = Response(grn_gamma, energy)
        grad_response = (activation * grad_activation).sum((1, 2), dtype=torch.float32)
        grad_gamma, factor = response.backward(grad_response)
        grad_gamma = grad_gamma.sum(0)
        scale = _of_pixels(response.scale(), y.dtype)
        grad_activation.mul_(scale).addcmul_(activation, _of_pixels(factor, y.dtype))
        activation *= scale
    grad_hidden = torch.ops.aten.gelu_backward(grad_activation, hidden)
    grad_y, _, _ = torch.ops.aten.native_layer_norm_backward(
        grad_hidden @ mlp.w1, y, y.shape[-1:], mean, rstd, None, None, [True, False, False]
    )
    grad_b1 = grad_hidden.sum((0, 1, 2), dtype=torch.float32)
    return grad_y, normed, activation, grad_hidden, grad_b1, grad_gamma


def branch_gradient(grad_out: Tensor, mlp: MLP, dtype: torch.dtype) -> Tensor:
    """Gradient of what the second matrix gives, (N, H, W, C)."""
    if mlp.layer_scale is not None:
        grad_out = grad_out * mlp.layer_scale
    if mlp.sample_scales is not None:
        grad_out = grad_out * mlp.sample_scales.view(-1, 1, 1, 1)
    return grad_out.to(dtype)


def _of_pixels(vectors: Tensor, dtype: torch.dtype) -> Tensor:
    return vectors.to(dtype)[:, None, None]


def _add(x: Tensor, branch: Tensor, mlp: MLP) -> Tensor:
    scale = mlp.layer_scale
    if mlp.sample_scales is not None:
        samples = mlp.sample_scales.view(-1, 1, 1, 1)
        scale = samples if scale is None else samples * scale
    out = x + branch if scale is None else torch.addcmul(x, branch, scale)
    return out.to(x.dtype)
