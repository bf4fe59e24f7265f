"""A whole block on the CPU, forward and backward, in chunks of pixels that stay in the cache.

Behind the depthwise convolution everything works on single pixels, so 1,024 of them go through LayerNorm, both linear
layers and GELU before the next ones do: the tensors of width 4C in between stay small, and their memory is used again
rather than asked for anew. Of a block, training keeps its input, what the depthwise convolution gives and what goes
into GELU: 6C numbers a pixel, where layer by layer it is 12C. The rest is computed again where it is cheap.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mmconvnext.kernels import depthwise
from mmconvnext.kernels.grn import Response, energy
from mmconvnext.kernels.linear import affine
from mmconvnext.kernels.tensors import EPS, BlockTensors

CHUNK = 1024  # pixels

# Of pixels in a row: the first one, and the one after the last
Range = tuple[int, int]


def block(x: Tensor, tensors: BlockTensors, sample_scales: Tensor | None = None) -> Tensor:
    """Output (B, C, H, W) of a block, channels-last and differentiable once.

    Args:
        x: (B, C, H, W).
        tensors: The block's.
        sample_scales: Stochastic depth's factor of each sample's branch, (B,). A branch with factor 0 is not computed.
    """
    keep = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, *tensors))
    return _Block.apply(x.contiguous(memory_format=torch.channels_last), sample_scales, keep, *tensors)


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sample_scales: Tensor | None, keep: bool, *flat: Tensor | None) -> Tensor:
        t = BlockTensors(*flat)  # type: ignore[arg-type]  # autograd passes them one by one
        y = F.conv2d(x, t.dw_weight, t.dw_bias, padding=3, groups=x.shape[1])
        x_pixels, y_pixels = pixels(x), pixels(y)
        out = torch.empty_like(x_pixels)
        up = affine(t.w1, t.b1, len(out))
        down = affine(t.w2, t.b2, len(out))
        hidden = []
        for samples, scale in _branches(x, t, sample_scales):
            if scale == 0:
                out[slice(*samples)] = x_pixels[slice(*samples)]
                continue
            activations = []
            for chunk in chunks(samples):
                h = up(F.layer_norm(y_pixels[slice(*chunk)], x.shape[1:2], t.norm_weight, t.norm_bias, EPS))
                if keep:
                    hidden.append(h)
                if t.grn_gamma is None:
                    _add(x_pixels, down(F.gelu(h)), t.layer_scale, scale, chunk, out)
                else:
                    activations.append(F.gelu(h))
            if t.grn_gamma is not None and t.grn_beta is not None:
                factor = Response(t.grn_gamma, energy(activations)).scale()
                down = affine(t.w2 * factor, torch.addmv(t.b2, t.w2, t.grn_beta), samples[1] - samples[0])
                for chunk, activation in zip(chunks(samples), activations):
                    _add(x_pixels, down(activation), t.layer_scale, scale, chunk, out)
        if keep:
            ctx.save_for_backward(x, y, sample_scales, *flat, *hidden)
        return maps(out, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        x, y, sample_scales, *rest = ctx.saved_tensors
        t = BlockTensors(*rest[: len(BlockTensors._fields)])
        grad_out = grad_out.contiguous(memory_format=torch.channels_last)
        mlp = _MLPBackward(t, pixels(y), pixels(grad_out), rest[len(BlockTensors._fields) :])
        for samples, scale in _branches(x, t, sample_scales):
            if scale != 0:
                mlp.run(samples, scale)
        grads = mlp.finish()
        grad_y = maps(mlp.grad_y, x)
        grads['dw_weight'] = depthwise.weight_gradient(x, grad_y)
        grads['dw_bias'] = mlp.grad_y.sum(0)
        grad_x = depthwise.input_gradient(grad_y, t.dw_weight).add_(grad_out)
        return grad_x, None, None, *(grads.get(name) for name in BlockTensors._fields)


class _MLPBackward:
    """Gradients of everything behind the depthwise convolution, gathered chunk by chunk.

    Written for ``out = x + scale * layer_scale * (w2 @ (response * gelu(w1 @ norm(y) + b1)) + b2)``, where the response
    is V2's and 1 in V1. One product, gradient times activation, gives the gradients of w2, layer scale and response.
    """

    def __init__(self, t: BlockTensors, y: Tensor, grad_out: Tensor, hidden: list[Tensor]) -> None:
        self.t, self.y, self.grad_out = t, y, grad_out
        self.hidden = iter(hidden)
        self.grad_y = torch.zeros_like(y)
        vectors = ('norm_weight', 'norm_bias', 'b1', 'b2', 'grn_gamma', 'grn_beta')
        self.grads = {n: torch.zeros_like(getattr(t, n)) for n in vectors if getattr(t, n) is not None}
        self.up_back = affine(t.w1.t(), None, len(y))
        self.down_back = affine(t.w2.t(), None, len(y))

    def run(self, samples: Range, scale: float) -> None:
        """Goes through the pixels of one sample, or of all of them where the samples do not differ."""
        t, grads = self.t, self.grads
        grad_sum = self.grad_out[slice(*samples)].sum(0).mul_(scale)  # (C,)
        grads['b2'] += grad_sum
        parts = [(chunk, next(self.hidden)) for chunk in chunks(samples)]
        if t.grn_gamma is None or t.grn_beta is None:
            for chunk, h in parts:
                grad = self._grad_out(chunk, scale)
                self._add_product('w2', grad, F.gelu(h))
                self._chunk(chunk, h, self.down_back(grad if t.layer_scale is None else grad * t.layer_scale))
            return

        activations = [F.gelu(h) for _, h in parts]
        response = Response(t.grn_gamma, energy(activations))
        product = torch.zeros_like(t.w2)  # (C, 4C)
        for (chunk, _), activation in zip(parts, activations):
            product.addmm_(self._grad_out(chunk, scale).t(), activation)
        grad_gamma, factor = response.backward(torch.einsum('ch,ch->h', product, t.w2))
        grads['grn_gamma'] += grad_gamma
        grads['grn_beta'].addmv_(t.w2.t(), grad_sum)
        product.mul_(response.scale()).addr_(grad_sum, t.grn_beta)
        grads['w2'] = product.add_(grads['w2']) if 'w2' in grads else product
        down_back = affine((t.w2 * response.scale()).t(), None, samples[1] - samples[0])
        for (chunk, h), activation in zip(parts, activations):
            self._chunk(chunk, h, down_back(self._grad_out(chunk, scale)).addcmul_(activation, factor))

    def finish(self) -> dict[str, Tensor]:
        """Returns the gradients by name; the depthwise convolution's are not among them."""
        t, grads = self.t, self.grads
        if 'w2' not in grads:  # every sample's branch was dropped
            grads.update(w1=torch.zeros_like(t.w1), w2=torch.zeros_like(t.w2))
        if t.layer_scale is not None:  # so far w2's and b2's are those of the branch before layer scale
            grads['layer_scale'] = torch.einsum('ch,ch->c', grads['w2'], t.w2) + grads['b2'] * t.b2
            grads['w2'] *= t.layer_scale[:, None]
            grads['b2'] *= t.layer_scale
        return grads

    def _grad_out(self, chunk: Range, scale: float) -> Tensor:
        grad = self.grad_out[slice(*chunk)]
        return grad if scale == 1 else grad * scale

    def _add_product(self, name: str, grad: Tensor, of: Tensor) -> None:
        # Weights are large where pixels are few, so none is filled with zeros first
        if name in self.grads:
            self.grads[name].addmm_(grad.t(), of)
        else:
            self.grads[name] = grad.t() @ of

    def _chunk(self, chunk: Range, h: Tensor, grad_activation: Tensor) -> None:
        t, grads = self.t, self.grads
        y = self.y[slice(*chunk)]
        normed, mean, rstd = torch.native_layer_norm(y, y.shape[1:], t.norm_weight, t.norm_bias, EPS)
        grad_h = torch.ops.aten.gelu_backward(grad_activation, h)
        self._add_product('w1', grad_h, normed)
        grads['b1'] += grad_h.sum(0)
        grad_y, grad_weight, grad_bias = torch.ops.aten.native_layer_norm_backward(
            self.up_back(grad_h), y, y.shape[1:], mean, rstd, t.norm_weight, t.norm_bias, [True, True, True]
        )
        self.grad_y[slice(*chunk)] = grad_y
        grads['norm_weight'] += grad_weight
        grads['norm_bias'] += grad_bias


def pixels(x: Tensor) -> Tensor:
    """(B, C, H, W) in channels-last memory as (B * H * W, C), without a copy."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def maps(x: Tensor, like: Tensor) -> Tensor:
    """(B * H * W, C) as (B, C, H, W) of another tensor's shape, in channels-last memory."""
    batch, channels, height, width = like.shape
    return x.view(batch, height, width, channels).permute(0, 3, 1, 2)


def chunks(samples: Range) -> Iterator[Range]:
    """Cuts a range of pixels into chunks."""
    for start in range(*samples, CHUNK):
        yield start, min(start + CHUNK, samples[1])


def _branches(x: Tensor, t: BlockTensors, sample_scales: Tensor | None) -> Iterator[tuple[Range, float]]:
    # Ranges of pixels with the factor of their branch: single samples where they differ in something
    size = x.shape[2] * x.shape[3]
    if sample_scales is None and t.grn_gamma is None:
        yield (0, len(x) * size), 1.0
        return
    scales = [1.0] * len(x) if sample_scales is None else sample_scales.tolist()
    for i, scale in enumerate(scales):
        yield (i * size, (i + 1) * size), scale


def _add(x: Tensor, branch: Tensor, layer_scale: Tensor | None, scale: float, chunk: Range, out: Tensor) -> None:
    here = slice(*chunk)
    if layer_scale is None:
        torch.add(x[here], branch, alpha=scale, out=out[here])
    else:
        torch.addcmul(x[here], branch, layer_scale, value=scale, out=out[here])
