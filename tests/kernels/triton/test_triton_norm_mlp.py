"""What follows the depthwise convolution, in one kernel and by PyTorch, against its formula in float64."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmconvnext.backbones.layers import GRN
from mmconvnext.backbones.sizes import ARCHS
from mmconvnext.kernels.triton import norm_mlp, tiles, unfused
from mmconvnext.kernels.triton.folded import FoldedMLP

TOLERANCES = {torch.float32: 3e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}
NARROW = sorted({w for arch in ARCHS.values() for w in arch.widths if tiles.has_norm_mlp(w)})
NAMES = ('out', 'hidden', 'gx', 'grad_y', 'normed', 'activation', 'grad_hidden', 'grad_b1', 'grad_gamma')


def error(found: Tensor, expected: Tensor) -> float:
    assert found.isfinite().all()
    return float((found.double() - expected).norm() / expected.norm())


def check(module, shape: tuple[int, ...], dtype: torch.dtype, device: str, parts: str, recompute: bool = True) -> None:
    """Compares all that the two passes return.

    Args:
        module: norm_mlp or unfused.
        shape: Of the maps, (N, H, W, C).
        dtype: Of the products.
        device: Where.
        parts: Of 'layer scale', 'drop path' and 'GRN', those that there are.
        recompute: Whether the backward gets no pre-activations.
    """
    samples, channels = shape[0], shape[-1]

    def normal(*sizes: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(*sizes, device=device)

    x, y, grad = normal(*shape), normal(*shape).to(dtype), normal(*shape)
    w1 = normal(4 * channels, channels, scale=channels**-0.5).to(dtype)
    w2 = normal(channels, 4 * channels, scale=0.5 * channels**-0.5).to(dtype)
    layer_scale = normal(channels) if 'layer scale' in parts else None
    scales = torch.linspace(0, 2, samples, device=device) if 'drop path' in parts else None
    mlp = FoldedMLP(w1, normal(4 * channels), w2, normal(channels), layer_scale, scales)
    gamma = normal(4 * channels, scale=0.5) if 'GRN' in parts else None

    out, hidden, gx = module.forward(x, y, mlp, gamma, True)
    back = module.backward(grad, y, mlp, gamma, None if recompute else hidden, gx)
    found = dict(zip(NAMES, (out, hidden, gx, *back), strict=True))

    y64, b1 = y.double().requires_grad_(), mlp.b1.double().requires_grad_()
    expected = {'normed': F.layer_norm(y64, (channels,), eps=1e-6)}
    expected['hidden'] = F.linear(expected['normed'], w1.double(), b1)
    expected['activation'] = F.gelu(expected['hidden'])
    sources = [y64, expected['hidden'], b1]
    if gamma is not None:
        grn = GRN(4 * channels).double().to(device)
        grn.gamma.data.copy_(gamma)
        expected['gx'] = expected['activation'].square().sum((1, 2)).sqrt()
        expected['activation'] = grn(expected['activation'])
        sources.append(grn.gamma)
    branch = F.linear(expected['activation'], w2.double(), mlp.b2.double())
    branch = branch if layer_scale is None else branch * layer_scale.double()
    branch = branch if scales is None else branch * scales.double().view(-1, 1, 1, 1)
    expected['out'] = x.double() + branch
    names = ('grad_y', 'grad_hidden', 'grad_b1', 'grad_gamma')
    expected.update(zip(names, torch.autograd.grad(expected['out'], sources, grad.double())))

    assert out.dtype == x.dtype
    assert {name for name, tensor in found.items() if tensor is not None} == set(expected)
    errors = {name: error(found[name], tensor.detach()) for name, tensor in expected.items()}
    assert max(errors.values()) < TOLERANCES[dtype], errors


@pytest.mark.parametrize('channels', NARROW)
def test_every_narrow_width(channels: int, device: str, exact: torch.dtype) -> None:
    check(norm_mlp, (1, 2, 3, channels), exact, device, 'layer scale')


# Tiles are of 128 pixels of one sample
@pytest.mark.parametrize('size', [(1, 1), (1, 127), (8, 16), (3, 43), (2, 130)])
@pytest.mark.parametrize('parts', ['layer scale and drop path', 'GRN'])
def test_edges_of_tiles(size: tuple[int, int], parts: str, device: str, exact: torch.dtype) -> None:
    check(norm_mlp, (2, *size, 48), exact, device, parts)


@pytest.mark.parametrize('parts', ['', 'layer scale', 'drop path', 'GRN', 'GRN and drop path', 'GRN and layer scale'])
@pytest.mark.parametrize('module', [norm_mlp, unfused])
@pytest.mark.parametrize('recompute', [False, True])
def test_every_combination(module, parts: str, recompute: bool, device: str, exact: torch.dtype) -> None:
    check(module, (3, 3, 5, 32), exact, device, parts, recompute)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('parts', ['layer scale and drop path', 'GRN'])
@pytest.mark.parametrize('module', [norm_mlp, unfused])
def test_half_precision(module, dtype: torch.dtype, parts: str, device: str) -> None:
    check(module, (2, 4, 9, 96), dtype, device, parts)


def test_large_activations_do_not_overflow_the_norm_in_float16(device: str) -> None:
    y = torch.randn(1, 8, 8, 16, device=device).half()
    w1 = 200 * torch.eye(64, 16, device=device).half()
    mlp = FoldedMLP(
        w1,
        torch.zeros(64, device=device),
        torch.zeros(16, 64, device=device).half(),
        y.new_zeros(16).float(),
        None,
        None,
    )
    _, _, gx = norm_mlp.forward(y.float(), y, mlp, torch.ones(64, device=device), False)
    assert 1000 < gx.max() < 200 * math.sqrt(64 * 16)


def test_the_powers_of_two_add_up() -> None:
    for channels in NARROW:
        powers = tiles.powers_of_two(channels)
        assert sum(powers) == channels
        assert all(power >= 16 and power & (power - 1) == 0 for power in powers)
