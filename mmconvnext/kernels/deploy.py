"""A backbone prepared for inference: constants folded into the weights, weights in the layout that products want."""

import copy
import itertools
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmconvnext.errors import UserError
from mmconvnext.kernels.choice import is_watched
from mmconvnext.kernels.cpu.linear import affine
from mmconvnext.kernels.cpu.passes import chunks, maps, pixels
from mmconvnext.kernels.grn import Response, energy
from mmconvnext.kernels.plain import is_plain, is_untouched
from mmconvnext.kernels.tensors import EPS, BlockTensors

HIDDEN_BYTES = 2**22  # of a chunk's 4C-wide tensor
PIXELS = 1024  # what the packed layout is chosen for


class Deployed:
    """A backbone for inference.

    LayerNorm's affine goes into the first linear layer and layer scale into the second, both exactly; stochastic depth
    is off. The backbone's own parameters stay as they are, and when they change, they are folded and packed again.

    Args:
        backbone: The backbone.
        dtype: What to compute in up to the output norms, which have the parameters' own dtype; None is that too.

    Raises:
        UserError: If something was replaced or hooked, which what is folded and packed would pass by.
    """

    def __init__(self, backbone: Any, dtype: torch.dtype | None) -> None:
        self.backbone: Any = weakref.proxy(backbone)  # which holds this object: a cycle would outlive its last use
        self.dtype = dtype
        self.parts = self._parts()
        if not self._is_plain():
            raise UserError(
                'a block of the backbone was replaced, or a layer was, or has a hook on it. Remove it before '
                'switch_to_deploy(), which computes the blocks without their layers.'
            )
        self._prepare()

    def can_run(self, x: Tensor) -> bool:
        """Whether nothing has to see the layers: no hook, autocast, compiler or tracer, nor an input they refuse."""
        first = next(self.backbone.parameters())
        return not (
            torch.compiler.is_compiling()
            or torch.jit.is_tracing()
            or is_watched(x)
            or x.is_meta  # of which PyTorch knows no autocast
            or torch.is_autocast_enabled(x.device.type)
            or (x.device, x.dtype) != (first.device, first.dtype)
            or self._parts() != self.parts
            or not self._is_plain()
        )

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the backbone returns of (B, in_channels, H, W), without a gradient."""
        if self._versions() != self.prepared:
            self._prepare()
        own, outs = x.dtype, []
        with torch.no_grad():
            x = x.to(self.compute_dtype, memory_format=torch.channels_last)
            for i, (downsample, blocks) in enumerate(self.stages):
                x = downsample(x)
                for number, block in enumerate(blocks):
                    x = block(x, in_place=number > 0)
                if i in self.backbone.out_indices:
                    outs.append(getattr(self.backbone, f'norm{i}')(x.to(own)))
        return tuple(outs)

    def _prepare(self) -> None:
        own = next(self.backbone.parameters()).dtype
        dtype = self.compute_dtype = self.dtype or own
        with torch.no_grad():
            self.stages = [
                (
                    downsample if dtype == own else copy.deepcopy(downsample).to(dtype),
                    [_DeployedBlock(BlockTensors.of(block), dtype) for block in stage],
                )
                for downsample, stage in zip(self.backbone.downsample_layers, self.backbone.stages)
            ]
        self.prepared = self._versions()

    def _parts(self) -> list[nn.Module]:
        return [*self.backbone.stages, *self._blocks(), *self.backbone.downsample_layers.modules()]

    def _blocks(self) -> Iterator[nn.Module]:
        return itertools.chain.from_iterable(self.backbone.stages)

    def _is_plain(self) -> bool:
        return all(map(is_untouched, self._parts())) and all(map(is_plain, self._blocks()))

    def _versions(self) -> list[tuple[int, int]]:
        # PyTorch counts changes in place, but none through .data or of what was made under inference mode
        return [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in self.backbone.parameters()]


class _DeployedBlock:
    def __init__(self, t: BlockTensors, dtype: torch.dtype) -> None:
        # Folded in float32 or better, and rounded once
        exact = torch.promote_types(t.w1.dtype, torch.float32)
        t = BlockTensors(*(None if tensor is None else tensor.to(exact) for tensor in t))  # type: ignore[arg-type]  # by order
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
        # PyTorch's float32 LayerNorm takes twice as long without them
        self.ones, self.zeros = torch.ones_like(self.depthwise[1]), torch.zeros_like(self.depthwise[1])
        self.chunk = max(1, HIDDEN_BYTES // (len(t.w1) * dtype.itemsize)) if pack else 2**31

    def __call__(self, x: Tensor, *, in_place: bool) -> Tensor:
        channels = x.shape[1]
        weight, bias = self.depthwise
        y = pixels(F.conv2d(x, weight, bias, padding=3, groups=channels))
        shortcut = pixels(x)
        # Nothing reads y's pixels again once their branch is there, so they too can take the sum: see cpu/passes.py
        out = shortcut if in_place else y
        # GRN needs a whole sample's activations before it can go on
        size = len(y) if self.grn_gamma is None else x.shape[2] * x.shape[3]
        for start in range(0, len(y), max(1, size)):
            ranges = [slice(*chunk) for chunk in chunks((start, start + size), self.chunk)]
            for here, activation in zip(ranges, self._activations(y, ranges)):
                torch.add(shortcut[here], self.down(activation), out=out[here])
        return maps(out, x)

    def _activations(self, y: Tensor, ranges: list[slice]) -> Iterator[Tensor]:
        hidden = (self.up(F.layer_norm(y[here], y.shape[1:], self.ones, self.zeros, EPS)) for here in ranges)
        if self.grn_gamma is None:
            yield from hidden
            return
        activations = list(hidden)
        scale = Response(self.grn_gamma, energy(activations)).scale().to(y.dtype)
        yield from (activation.mul_(scale) for activation in activations)
