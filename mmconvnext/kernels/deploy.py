"""Stages prepared for inference: constants folded into the weights, weights in the layout that products want."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmconvnext.kernels.cpu import EPS, maps, pixels
from mmconvnext.kernels.grn import Response, energy
from mmconvnext.kernels.linear import affine
from mmconvnext.kernels.tensors import BlockTensors

HIDDEN_ELEMENTS = 2**19  # of a chunk's 4C-wide tensor: 2 MB in float32
PIXELS = 1024  # what the packed layout is chosen for


class DeployedStage:
    """The blocks of a stage for inference.

    LayerNorm's affine goes into the first linear layer and layer scale into the second, both exactly; stochastic depth
    is off. The stage's own parameters stay as they are.

    Args:
        blocks: The stage.
        dtype: What to compute in; the input's dtype comes back.
    """

    def __init__(self, blocks: Iterable[nn.Module], dtype: torch.dtype) -> None:
        self.dtype = dtype
        with torch.no_grad():
            self.blocks = [_DeployedBlock(BlockTensors.of(block), dtype) for block in blocks]

    def __call__(self, x: Tensor) -> Tensor:
        """Runs (B, C, H, W) through the blocks, without gradients."""
        with torch.no_grad():
            out = x.to(self.dtype, memory_format=torch.channels_last)
            for block in self.blocks:
                out = block(out)
            return out.to(x.dtype)


class _DeployedBlock:
    def __init__(self, t: BlockTensors, dtype: torch.dtype) -> None:
        # Folded in the parameters' own precision, and rounded once
        w1, b1 = t.w1 * t.norm_weight, torch.addmv(t.b1, t.w1, t.norm_bias)
        w2, b2 = t.w2, t.b2
        if t.layer_scale is not None:
            w2, b2 = w2 * t.layer_scale[:, None], b2 * t.layer_scale
        if t.grn_beta is not None:
            b2 = torch.addmv(b2, w2, t.grn_beta)
        pack = t.w1.device.type == 'cpu'
        self.depthwise = t.dw_weight.to(dtype), t.dw_bias.to(dtype)
        self.up = affine(w1.to(dtype), b1.to(dtype), PIXELS, gelu=True, pack=pack)
        self.down = affine(w2.to(dtype), b2.to(dtype), PIXELS, pack=pack)
        self.grn_gamma = None if t.grn_gamma is None else t.grn_gamma.to(dtype)
        self.chunk = max(1, HIDDEN_ELEMENTS // len(t.w1)) if pack else 2**31

    def __call__(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        weight, bias = self.depthwise
        y = pixels(F.conv2d(x, weight, bias, padding=3, groups=channels))
        shortcut = pixels(x)
        out = torch.empty_like(y)
        size = x.shape[2] * x.shape[3]
        # GRN needs a whole sample's activations before it can go on
        for start, stop in [(0, len(y))] if self.grn_gamma is None else [(i, i + size) for i in range(0, len(y), size)]:
            ranges = [slice(a, min(a + self.chunk, stop)) for a in range(start, stop, self.chunk)]
            hidden = (self.up(F.layer_norm(y[here], (channels,), None, None, EPS)) for here in ranges)
            if self.grn_gamma is not None:
                activations = list(hidden)
                scale = Response(self.grn_gamma, energy(activations)).scale()
                hidden = (activation.mul_(scale) for activation in activations)
            for here, activation in zip(ranges, hidden):
                torch.add(shortcut[here], self.down(activation), out=out[here])
        return maps(out, x)
