"""Forward of a block on the CPU, in chunks of pixels that stay in the cache.

Behind the depthwise convolution each pixel is computed by itself; only GRN needs a sum over a sample's pixels. So a
chunk of pixels goes through LayerNorm, both linear layers and GELU before the next chunk does. The 4C-wide activations
of a chunk stay in the cache, and their memory is reused.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mmconvnext.kernels.cpu.chunks import ACTIVATION_BYTES, TRAINING_PIXELS, as_pixels, branches, chunks
from mmconvnext.kernels.cpu.linear import Linear, prepare_linear
from mmconvnext.kernels.grn import Response, global_norm
from mmconvnext.kernels.tensors import EPS, BlockTensors


class PreparedBlock(NamedTuple):
    """The weights of a block as :func:`forward` takes them."""

    dw_weight: Tensor  # (C, 1, 7, 7)
    dw_bias: Tensor  # (C,)
    norm_weight: Tensor  # (C,)
    norm_bias: Tensor  # (C,)
    linear1: Linear  # (n, C) -> (n, 4C), with GELU if gelu_fused
    linear2: Linear  # (n, 4C) -> (n, C), with GRN's bias folded in
    gelu_fused: bool
    layer_scale: Tensor | None  # (C,)
    grn_gamma: Tensor | None  # (4C,)
    longest_chunk: int  # in pixels


def prepare(t: BlockTensors, pixels: int, *, fuse_gelu: bool, pack: bool | None = None) -> PreparedBlock:
    """Prepares a block's weights, packed if that pays.

    Args:
        t: The block's parameters.
        pixels: Number of pixels that the weights will be used for.
        fuse_gelu: Whether the first linear layer applies GELU itself. Then the pre-activations cannot be kept.
        pack: As in :func:`~mmconvnext.kernels.cpu.linear.prepare_linear`.
    """
    return PreparedBlock(
        t.dw_weight,
        t.dw_bias,
        t.norm_weight,
        t.norm_bias,
        prepare_linear(t.w1, t.b1, pixels, gelu=fuse_gelu, pack=pack),
        prepare_linear(t.w2, t.grn_in_second_bias(), pixels, pack=pack),
        fuse_gelu,
        t.layer_scale,
        t.grn_gamma,
        ACTIVATION_BYTES // (len(t.w1) * t.w1.itemsize) if fuse_gelu else TRAINING_PIXELS,
    )


def forward(
    x: Tensor, block: PreparedBlock, sample_scales: Tensor | None = None, *, keep: bool = False
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Computes a block.

    Args:
        x: (B, C, H, W), channels-last.
        block: Its weights.
        sample_scales: Stochastic depth's factor of each sample's branch, (B,). A branch with factor 0 is not computed.
        keep: Whether a backward follows. If not, the output overwrites the depthwise convolution's output.

    Returns:
        The output (B, C, H, W); the depthwise convolution's output, likewise; and, unless GELU is fused, the
        pre-activations (n, 4C) of each chunk.
    """
    y = F.conv2d(x, block.dw_weight, block.dw_bias, padding=3, groups=x.shape[1])
    y = y.contiguous(memory_format=torch.channels_last)
    # Large new memory is slow: the system hands it out page by page. Without a backward y is not needed again
    result = torch.empty_like(x, memory_format=torch.channels_last) if keep else y
    x_pixels, y_pixels, out = as_pixels(x), as_pixels(y), as_pixels(result)
    pre_activations: list[Tensor] = []
    for span, scale in branches(x, sample_scales, by_sample=block.grn_gamma is not None):
        if scale == 0:
            out[span] = x_pixels[span]
            continue
        ranges = chunks(span, block.longest_chunk)
        for chunk, activation in zip(ranges, _activations(y_pixels, ranges, block, pre_activations)):
            branch = block.linear2(activation)
            if block.layer_scale is None:
                torch.add(x_pixels[chunk], branch, alpha=scale, out=out[chunk])
            else:
                torch.addcmul(x_pixels[chunk], branch, block.layer_scale, value=scale, out=out[chunk])
    return result, y, pre_activations


def _activations(y: Tensor, ranges: list[slice], block: PreparedBlock, kept: list[Tensor]) -> Iterator[Tensor]:
    # Input of the second linear layer, (n, 4C) for each chunk. Pre-activations go to the list ``kept``
    def activation(chunk: slice) -> Tensor:
        hidden = block.linear1(F.layer_norm(y[chunk], y.shape[1:], block.norm_weight, block.norm_bias, EPS))
        if block.gelu_fused:
            return hidden
        kept.append(hidden)
        return F.gelu(hidden)

    if block.grn_gamma is None:
        yield from map(activation, ranges)
        return
    activations = [activation(chunk) for chunk in ranges]
    factor = Response(block.grn_gamma, global_norm(activations)).factor().to(y.dtype)
    for each in activations:
        yield each.mul_(factor)
