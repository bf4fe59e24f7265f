"""Backward of a block on the CPU, in the chunks of pixels of its forward."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from mmconvnext.kernels.cpu.chunks import TRAINING_PIXELS, as_maps, as_pixels, branches, chunks
from mmconvnext.kernels.cpu.depthwise_gradients import input_gradient, weight_gradient
from mmconvnext.kernels.cpu.linear import Linear, prepare_linear
from mmconvnext.kernels.grn import Response, global_norm
from mmconvnext.kernels.tensors import EPS, BlockTensors


def backward(
    grad_out: Tensor,
    x: Tensor,
    y: Tensor,
    pre_activations: Sequence[Tensor],
    t: BlockTensors,
    sample_scales: Tensor | None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the gradient of a block's input, and the gradients of its parameters by name.

    Args:
        grad_out: Gradient of the output, (B, C, H, W).
        x: Input of the block, (B, C, H, W), channels-last.
        y: Output of the depthwise convolution, likewise.
        pre_activations: Those that the forward returned. If empty they are computed again.
        t: The block's parameters.
        sample_scales: Those of the forward.
    """
    grad_out = grad_out.contiguous(memory_format=torch.channels_last)
    mlp = _MLPBackward(t, as_pixels(y), as_pixels(grad_out), pre_activations)
    for span, scale in branches(x, sample_scales, by_sample=t.grn_gamma is not None):
        if scale == 0:
            mlp.grad_y[span] = 0
        else:
            mlp.run(span, scale)
    grads = mlp.finish()
    grad_y = as_maps(mlp.grad_y, x)
    grads['dw_weight'] = weight_gradient(x, grad_y)
    grads['dw_bias'] = mlp.grad_y.sum(0)
    return input_gradient(grad_y, t.dw_weight).add_(grad_out), grads


class _MLPBackward:
    """Sums up the gradients of everything behind the depthwise convolution, chunk by chunk.

    The forward is ``out = x + scale * layer_scale * (w2 @ (factor * gelu(w1 @ norm(y) + b1) + beta) + b2)``, where
    factor and beta are GRN's. Until :meth:`finish`, the gradients of w2 and b2 are those without layer scale and beta.
    """

    def __init__(self, t: BlockTensors, y: Tensor, grad_out: Tensor, pre_activations: Sequence[Tensor]) -> None:
        self.t, self.y, self.grad_out = t, y, grad_out
        self.kept = iter(pre_activations)
        self.grad_y = torch.empty_like(y)
        vectors = ('norm_weight', 'norm_bias', 'b1', 'b2', 'grn_gamma')
        self.grads = {n: torch.zeros_like(getattr(t, n)) for n in vectors if getattr(t, n) is not None}
        self.linear1_transposed = prepare_linear(t.w1.t(), None, len(y))
        self.linear2_transposed = prepare_linear(t.w2.t(), None, len(y))

    def run(self, span: slice, scale: float) -> None:
        """Goes through the pixels of one sample, or of all samples if none differs from the others."""
        t, grads = self.t, self.grads
        grads['b2'] += self.grad_out[span].sum(0).mul_(scale)
        parts = ((chunk, self._pre_activation(chunk)) for chunk in chunks(span, TRAINING_PIXELS))
        if t.grn_gamma is not None:
            self._run_with_grn(list(parts), scale, t.grn_gamma)
            return
        for chunk, hidden in parts:
            grad = self._grad_branch(chunk, scale)
            grads['w2'] = _add_product(grads.get('w2'), grad, F.gelu(hidden))
            grad = grad if t.layer_scale is None else grad * t.layer_scale
            self._through_linear1_and_norm(chunk, hidden, self.linear2_transposed(grad))

    def _run_with_grn(self, parts: list[tuple[slice, Tensor]], scale: float, gamma: Tensor) -> None:
        grads = self.grads
        activations = [F.gelu(hidden) for _, hidden in parts]
        response = Response(gamma, global_norm(activations))
        factor = response.factor()
        # One product, gradient times activation, gives the gradients of both w2 and the factor
        product = torch.zeros_like(self.t.w2)  # (C, 4C)
        for (chunk, _), activation in zip(parts, activations):
            product.addmm_(self._grad_branch(chunk, scale).t(), activation)
        grad_gamma, through_gx = response.backward(torch.linalg.vecdot(product, self.t.w2, dim=0))
        grads['grn_gamma'] += grad_gamma
        product *= factor
        grads['w2'] = product.add_(grads['w2']) if 'w2' in grads else product
        for (chunk, hidden), activation in zip(parts, activations):
            grad = self.linear2_transposed(self._grad_branch(chunk, scale))
            self._through_linear1_and_norm(chunk, hidden, grad.mul_(factor).addcmul_(activation, through_gx))

    def finish(self) -> dict[str, Tensor]:
        """Returns the gradients by name; those of the depthwise convolution are not among them."""
        t, grads = self.t, self.grads
        if 'w2' not in grads:  # stochastic depth dropped every sample
            grads.update(w1=torch.zeros_like(t.w1), w2=torch.zeros_like(t.w2))
        if t.grn_beta is not None:
            grads['grn_beta'] = t.w2.t() @ grads['b2']
            grads['w2'].addr_(grads['b2'], t.grn_beta)
        if t.layer_scale is not None:
            grads['layer_scale'] = torch.linalg.vecdot(grads['w2'], t.w2) + grads['b2'] * t.b2
            grads['w2'] *= t.layer_scale[:, None]
            grads['b2'] *= t.layer_scale
        return grads

    @cached_property
    def _linear1(self) -> Linear:
        return prepare_linear(self.t.w1, self.t.b1, len(self.y))

    def _pre_activation(self, chunk: slice) -> Tensor:
        kept = next(self.kept, None)
        if kept is not None:
            return kept
        y = self.y[chunk]
        return self._linear1(F.layer_norm(y, y.shape[1:], self.t.norm_weight, self.t.norm_bias, EPS))

    def _grad_branch(self, chunk: slice, scale: float) -> Tensor:
        grad = self.grad_out[chunk]
        return grad if scale == 1 else grad * scale

    def _through_linear1_and_norm(self, chunk: slice, hidden: Tensor, grad_activation: Tensor) -> None:
        # From the activations (n, 4C) back to y (n, C)
        t, grads = self.t, self.grads
        y = self.y[chunk]
        normed, mean, rstd = torch.native_layer_norm(y, y.shape[1:], t.norm_weight, t.norm_bias, EPS)
        grad_hidden = torch.ops.aten.gelu_backward(grad_activation, hidden)
        grads['w1'] = _add_product(grads.get('w1'), grad_hidden, normed)
        grads['b1'] += grad_hidden.sum(0)
        grad_y, grad_weight, grad_bias = torch.ops.aten.native_layer_norm_backward(
            self.linear1_transposed(grad_hidden), y, y.shape[1:], mean, rstd, t.norm_weight, t.norm_bias, [True] * 3
        )
        self.grad_y[chunk] = grad_y
        grads['norm_weight'] += grad_weight
        grads['norm_bias'] += grad_bias


def _add_product(total: Tensor | None, grad: Tensor, of: Tensor) -> Tensor:
    # A weight's gradient starts as the first product: filling it with zeros before would take time
    return grad.t() @ of if total is None else total.addmm_(grad.t(), of)
