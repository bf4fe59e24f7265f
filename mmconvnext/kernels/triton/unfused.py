"""LayerNorm and the MLP by PyTorch's own operators, for wide stages and float32.

In wide stages the matrix products take most of the time, and Triton's float32 products are slow.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from mmconvnext.kernels.grn import Response
from mmconvnext.kernels.tensors import EPS
from mmconvnext.kernels.triton.folded import FoldedMLP


def forward(
    x: Tensor, y: Tensor, mlp: FoldedMLP, grn_gamma: Tensor | None, keep_hidden: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Does what :func:`mmconvnext.kernels.triton.norm_mlp.forward` does."""
    normed = F.layer_norm(y, y.shape[-1:], eps=EPS)
    hidden = F.linear(normed, mlp.w1, mlp.b1.to(y.dtype))
    del normed
    activation = F.gelu(hidden)
    gx = None
    if grn_gamma is not None:
        gx = torch.linalg.vector_norm(activation, dim=(1, 2), dtype=torch.float32)
        activation *= _over_pixels(Response(grn_gamma, gx).factor(), y.dtype)
    branch = F.linear(activation, mlp.w2, mlp.b2.to(y.dtype))
    scale = mlp.layer_scale
    if mlp.sample_scales is not None:
        sample_scales = mlp.sample_scales.view(-1, 1, 1, 1)
        scale = sample_scales if scale is None else sample_scales * scale
    out = x + branch if scale is None else torch.addcmul(x, branch, scale)
    return out.to(x.dtype), hidden if keep_hidden else None, gx


def backward(
    grad_out: Tensor, y: Tensor, mlp: FoldedMLP, grn_gamma: Tensor | None, hidden: Tensor | None, gx: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Does what :func:`mmconvnext.kernels.triton.norm_mlp.backward` does."""
    normed, mean, rstd = torch.native_layer_norm(y, y.shape[-1:], None, None, EPS)
    if hidden is None:
        hidden = F.linear(normed, mlp.w1, mlp.b1.to(y.dtype))
    activation = F.gelu(hidden)
    grad_activation = branch_gradient(grad_out, mlp, y.dtype) @ mlp.w2
    grad_gamma = None
    if grn_gamma is not None and gx is not None:
        response = Response(grn_gamma, gx)
        grad_factor = (activation * grad_activation).sum((1, 2), dtype=torch.float32)
        grad_gamma, through_gx = response.backward(grad_factor)
        grad_gamma = grad_gamma.sum(0)
        factor = _over_pixels(response.factor(), y.dtype)
        grad_activation.mul_(factor).addcmul_(activation, _over_pixels(through_gx, y.dtype))
        activation *= factor
    grad_hidden = torch.ops.aten.gelu_backward(grad_activation, hidden)
    grad_y, _, _ = torch.ops.aten.native_layer_norm_backward(
        grad_hidden @ mlp.w1, y, y.shape[-1:], mean, rstd, None, None, [True, False, False]
    )
    grad_b1 = grad_hidden.sum((0, 1, 2), dtype=torch.float32)
    return grad_y, normed, activation, grad_hidden, grad_b1, grad_gamma


def branch_gradient(grad_out: Tensor, mlp: FoldedMLP, dtype: torch.dtype) -> Tensor:
    """Returns the gradient of the second linear layer's output, (B, H, W, C)."""
    if mlp.layer_scale is not None:
        grad_out = grad_out * mlp.layer_scale
    if mlp.sample_scales is not None:
        grad_out = grad_out * mlp.sample_scales.view(-1, 1, 1, 1)
    return grad_out.to(dtype)


def _over_pixels(vectors: Tensor, dtype: torch.dtype) -> Tensor:
    # (B, 4C) to (B, 1, 1, 4C)
    return vectors.to(dtype)[:, None, None]
