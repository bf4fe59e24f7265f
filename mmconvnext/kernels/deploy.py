"""Stages prepared for inference: constants folded into the weights, weights in the layout that products want."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmconvnext.kernels.choice import is_watched
from mmconvnext.kernels.cpu.linear import affine
from mmconvnext.kernels.cpu.passes import chunks, maps, pixels
from mmconvnext.kernels.grn import Response, energy
from mmconvnext.kernels.plain import is_plain, is_untouched
from mmconvnext.kernels.tensors import EPS, BlockTensors

HIDDEN_BYTES = 2**22  # of a chunk's 4C-wide tensor
PIXELS = 1024  # what the packed layout is chosen for


class DeployedStage:
    """A stage's blocks for inference.

    LayerNorm's affine goes into the first linear layer and layer scale into the second, both exactly; stochastic depth
    is off. The stage's own parameters stay as they are. When they change, they are folded and packed again; where a
    hook, autocast, a compiler or a tracer has to see the layers, the stage itself runs.

    Args:
        stage: The stage.
        dtype: What to compute in, with the input's dtype coming back; None is the parameters' own.

    Raises:
        ValueError: If something of a block was replaced or hooked, which what is folded and packed would pass by.
    """

    def __init__(self, stage: nn.Module, dtype: torch.dtype | None) -> None:
        self.stage = stage
        self.dtype = dtype
        if not self._is_plain():
            raise ValueError(
                'a block of the backbone was replaced, has a layer that was, or has a hook on it. Remove it before '
                'switch_to_deploy(), which computes the blocks without their layers.'
            )
        self._prepare()

    def __call__(self, x: Tensor) -> Tensor:
        """Runs (B, C, H, W) through the blocks; what is folded and packed gives no gradient."""
        if (
            torch.compiler.is_compiling()
            or torch.jit.is_tracing()
            or is_watched(x)
            or torch.is_autocast_enabled(x.device.type)
            or not self._is_plain()
        ):
            return self.stage(x)
        if self._versions() != self.prepared:
            self._prepare()
        with torch.no_grad():
            out = x.to(self.compute_dtype, memory_format=torch.channels_last)
            for block in self.blocks:
                out = block(out)
            return out.to(x.dtype)

    def _prepare(self) -> None:
        with torch.no_grad():
            self.compute_dtype = self.dtype or next(self.stage.parameters()).dtype
            self.blocks = [_DeployedBlock(BlockTensors.of(b), self.compute_dtype) for b in self.stage.children()]
        self.prepared = self._versions()

    def _is_plain(self) -> bool:
        blocks = [self.stage, *self.stage.children()]
        return all(map(is_untouched, blocks)) and all(map(is_plain, blocks[1:]))

    def _versions(self) -> list[tuple[int, int]]:
        # PyTorch counts changes in place, but none through .data or of what was made under inference mode
        return [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in self.stage.parameters()]


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
        self.grn_gamma = t.grn_gamma
        self.chunk = max(1, HIDDEN_BYTES // (len(t.w1) * dtype.itemsize)) if pack else 2**31

    def __call__(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        weight, bias = self.depthwise
        y = pixels(F.conv2d(x, weight, bias, padding=3, groups=channels))
        shortcut = pixels(x)
        out = y  # whose pixels nothing reads again once their branch is there: see cpu/passes.py
        # GRN needs a whole sample's activations before it can go on
        size = len(y) if self.grn_gamma is None else x.shape[2] * x.shape[3]
        for start in range(0, len(y), max(1, size)):
            ranges = [slice(*chunk) for chunk in chunks((start, start + size), self.chunk)]
            for here, activation in zip(ranges, self._activations(y, ranges)):
                torch.add(shortcut[here], self.down(activation), out=out[here])
        return maps(out, x)

    def _activations(self, y: Tensor, ranges: list[slice]) -> Iterator[Tensor]:
        hidden = (self.up(F.layer_norm(y[here], y.shape[1:], None, None, EPS)) for here in ranges)
        if self.grn_gamma is None:
            yield from hidden
            return
        activations = list(hidden)
        scale = Response(self.grn_gamma, energy(activations)).scale().to(y.dtype)
        yield from (activation.mul_(scale) for activation in activations)
