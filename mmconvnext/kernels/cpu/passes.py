"""A whole block, forward and backward, in chunks of pixels that stay in the cache.

Behind the depthwise convolution everything works on single pixels, so 1,024 of them go through LayerNorm, both linear
layers and GELU before the next ones do: the tensors of width 4C in between stay small, and their memory is used again
rather than asked for anew.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from mmconvnext.kernels.cpu import depthwise
from mmconvnext.kernels.cpu.linear import affine
from mmconvnext.kernels.grn import Response, energy
from mmconvnext.kernels.tensors import EPS, BlockTensors

CHUNK = 1024  # pixels
# Of a sample, for each channel, from which on GRN goes into the weights behind it rather than onto its pixels
PIXELS_WORTH_FOLDING = 2

# Of pixels in a row: the first one, and the one after the last
Range = tuple[int, int]


def forward(
    x: Tensor, t: BlockTensors, sample_scales: Tensor | None, *, keep: bool, keep_hidden: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Computes a block of a channels-last input.

    Args:
        x: (B, C, H, W).
        t: The block's tensors.
        sample_scales: Stochastic depth's factor of each sample's branch, (B,).
        keep: Whether a pass back follows. If not, the output has the memory of what the depthwise convolution gives.
        keep_hidden: Whether it is to find what goes into GELU, or else computes that again.

    Returns:
        The output, what the depthwise convolution gives, and what goes into GELU, chunk by chunk.
    """
    y = F.conv2d(x, t.dw_weight, t.dw_bias, padding=3, groups=x.shape[1]).contiguous(memory_format=torch.channels_last)
    x_pixels, y_pixels = pixels(x), pixels(y)
    # Of large tensors the system hands out each page anew, which costs more than the sums written to them: nothing
    # reads y's pixels again once their branch is there, unless for the pass back
    result = torch.empty_like(x, memory_format=torch.channels_last) if keep else y
    out = pixels(result)
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
            if keep_hidden:
                hidden.append(h)
            if t.grn_gamma is None:
                _add(x_pixels, down(F.gelu(h)), t.layer_scale, scale, chunk, out)
            else:
                activations.append(F.gelu(h))
        if t.grn_gamma is not None and t.grn_beta is not None:
            factor = Response(t.grn_gamma, energy(activations)).scale()
            if _folds(samples, t):
                down = affine(t.w2 * factor, torch.addmv(t.b2, t.w2, t.grn_beta), samples[1] - samples[0])
            else:
                activations = [torch.addcmul(t.grn_beta, a, factor, out=a) for a in activations]
            for chunk, activation in zip(chunks(samples), activations):
                _add(x_pixels, down(activation), t.layer_scale, scale, chunk, out)
    return result, y, hidden


def backward(
    grad_out: Tensor, x: Tensor, y: Tensor, hidden: Sequence[Tensor], t: BlockTensors, sample_scales: Tensor | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Gradients of a block's input, and of its tensors by name, from what :func:`forward` returned and was given."""
    grad_out = grad_out.contiguous(memory_format=torch.channels_last)
    mlp = _MLPBackward(t, pixels(y), pixels(grad_out), hidden)
    for samples, scale in _branches(x, t, sample_scales):
        if scale == 0:
            mlp.grad_y[slice(*samples)] = 0
        else:
            mlp.run(samples, scale)
    grads = mlp.finish()
    grad_y = maps(mlp.grad_y, x)
    grads['dw_weight'] = depthwise.weight_gradient(x, grad_y)
    grads['dw_bias'] = mlp.grad_y.sum(0)
    return depthwise.input_gradient(grad_y, t.dw_weight).add_(grad_out), grads


class _MLPBackward:
    """Gradients of everything behind the depthwise convolution, gathered chunk by chunk.

    Written for ``out = x + scale * layer_scale * (w2 @ (response * gelu(w1 @ norm(y) + b1)) + b2)``, where the response
    is V2's and 1 in V1. One product, gradient times activation, gives the gradients of w2, layer scale and response.
    """

    def __init__(self, t: BlockTensors, y: Tensor, grad_out: Tensor, hidden: Sequence[Tensor]) -> None:
        self.t, self.y, self.grad_out = t, y, grad_out
        self.hidden = iter(hidden)
        self.grad_y = torch.empty_like(y)
        vectors = ('norm_weight', 'norm_bias', 'b1', 'b2', 'grn_gamma', 'grn_beta')
        self.grads = {n: torch.zeros_like(getattr(t, n)) for n in vectors if getattr(t, n) is not None}
        self.up_back = affine(t.w1.t(), None, len(y))
        self.down_back = affine(t.w2.t(), None, len(y))

    def run(self, samples: Range, scale: float) -> None:
        """Goes through the pixels of one sample, or of all of them where the samples do not differ."""
        t, grads = self.t, self.grads
        grad_sum = self.grad_out[slice(*samples)].sum(0).mul_(scale)  # (C,)
        grads['b2'] += grad_sum
        parts = ((chunk, self._hidden(chunk)) for chunk in chunks(samples))
        if t.grn_gamma is None or t.grn_beta is None:
            for chunk, h in parts:
                grad = self._grad_out(chunk, scale)
                self._add_product('w2', grad, F.gelu(h))
                self._chunk(chunk, h, self.down_back(grad if t.layer_scale is None else grad * t.layer_scale))
        elif _folds(samples, t):
            self._grn_in_weights(list(parts), scale, t.grn_gamma, t.grn_beta, grad_sum)
        else:
            self._grn_on_pixels(list(parts), scale, t.grn_gamma, t.grn_beta)

    def _grn_in_weights(
        self, parts: list[tuple[Range, Tensor]], scale: float, gamma: Tensor, beta: Tensor, grad_sum: Tensor
    ) -> None:
        t, grads = self.t, self.grads
        activations = [F.gelu(h) for _, h in parts]
        response = Response(gamma, energy(activations))
        product = torch.zeros_like(t.w2)  # (C, 4C)
        for (chunk, _), activation in zip(parts, activations):
            product.addmm_(self._grad_out(chunk, scale).t(), activation)
        grad_gamma, factor = response.backward(torch.linalg.vecdot(product, t.w2, dim=0))
        grads['grn_gamma'] += grad_gamma
        grads['grn_beta'].addmv_(t.w2.t(), grad_sum)
        product.mul_(response.scale()).addr_(grad_sum, beta)
        grads['w2'] = product.add_(grads['w2']) if 'w2' in grads else product
        down_back = affine((t.w2 * response.scale()).t(), None, sum(len(h) for _, h in parts))
        for (chunk, h), activation in zip(parts, activations):
            self._chunk(chunk, h, down_back(self._grad_out(chunk, scale)).addcmul_(activation, factor))

    def _grn_on_pixels(self, parts: list[tuple[Range, Tensor]], scale: float, gamma: Tensor, beta: Tensor) -> None:
        grads = self.grads
        activations = [F.gelu(h) for _, h in parts]
        response = Response(gamma, energy(activations))
        grad_scale = torch.zeros_like(gamma)
        grads_normalized = []
        for (chunk, _), activation in zip(parts, activations):
            grad = self._grad_out(chunk, scale)
            self._add_product('w2', grad, torch.addcmul(beta, activation, response.scale()))
            grad_normalized = self.down_back(grad)  # (n, 4C)
            grads['grn_beta'] += grad_normalized.sum(0)
            grad_scale += (grad_normalized * activation).sum(0)
            grads_normalized.append(grad_normalized)
        grad_gamma, factor = response.backward(grad_scale)
        grads['grn_gamma'] += grad_gamma
        for (chunk, h), activation, grad in zip(parts, activations, grads_normalized):
            self._chunk(chunk, h, grad.mul_(response.scale()).addcmul_(activation, factor))

    def finish(self) -> dict[str, Tensor]:
        """Returns the gradients by name; the depthwise convolution's are not among them."""
        t, grads = self.t, self.grads
        if 'w2' not in grads:  # every sample's branch was dropped
            grads.update(w1=torch.zeros_like(t.w1), w2=torch.zeros_like(t.w2))
        if t.layer_scale is not None:  # so far w2's and b2's are those of the branch before layer scale
            grads['layer_scale'] = torch.linalg.vecdot(grads['w2'], t.w2) + grads['b2'] * t.b2
            grads['w2'] *= t.layer_scale[:, None]
            grads['b2'] *= t.layer_scale
        return grads

    @cached_property
    def _up(self) -> Callable[[Tensor], Tensor]:
        return affine(self.t.w1, self.t.b1, len(self.y))

    def _hidden(self, chunk: Range) -> Tensor:
        kept = next(self.hidden, None)
        if kept is not None:
            return kept
        y = self.y[slice(*chunk)]
        return self._up(F.layer_norm(y, y.shape[1:], self.t.norm_weight, self.t.norm_bias, EPS))

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


def chunks(samples: Range, most: int = CHUNK) -> list[Range]:
    """Cuts a range of pixels into even chunks of at most so many."""
    start, stop = samples
    count = -(-(stop - start) // most)
    cuts = [start + (stop - start) * i // count for i in range(count + 1)]
    return list(itertools.pairwise(cuts))


def _folds(samples: Range, t: BlockTensors) -> bool:
    return samples[1] - samples[0] >= PIXELS_WORTH_FOLDING * t.w1.shape[1]


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
