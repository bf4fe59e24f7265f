import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmconvnext.backbones.sizes import ARCHS
from mmconvnext.kernels.triton import depthwise, tiles

# One rounding each. The interpreter cuts float32 to bfloat16, which costs twice as much
TOLERANCES = {torch.float32: 1e-6, torch.float16: 5e-4, torch.bfloat16: 5e-3}
WIDTHS = sorted({width for arch in ARCHS.values() for width in arch.widths})

# Tiles of 4 rows by 8 (of 128 channels), 32 (of 32) or 128 columns (of 8): one pixel, edges, and one to either side
SHAPES = [(1, 1, 1, 8), (2, 3, 7, 128), (1, 4, 8, 128), (1, 5, 9, 128), (1, 2, 33, 32), (2, 5, 2, 24)]


def error(found: Tensor, expected: Tensor) -> float:
    assert found.isfinite().all()
    return float((found.double() - expected).norm() / expected.norm())


def reference(x: Tensor, taps: Tensor, bias: Tensor | None = None) -> Tensor:
    """PyTorch's convolution of (N, H, W, C) in float64."""
    channels = x.shape[-1]
    weight = taps.double().t().reshape(channels, 1, 7, 7)
    bias = None if bias is None else bias.double()
    out = F.conv2d(x.double().permute(0, 3, 1, 2), weight, bias, padding=3, groups=channels)
    return out.permute(0, 2, 3, 1)


def random(shape: tuple[int, ...], device: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """A map, taps, and a bias."""
    x = torch.randn(shape, device=device).to(dtype)
    return x, torch.randn(49, shape[-1], device=device), torch.randn(shape[-1], device=device)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('dtype', TOLERANCES)
def test_convolution(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> None:
    x, taps, bias = random(shape, device, dtype)
    assert error(depthwise.convolve(x, taps, bias), reference(x, taps, bias)) < TOLERANCES[dtype]


def test_output_in_another_dtype_is_rounded_once(device: str) -> None:
    x, taps, _ = random((1, 3, 5, 32), device)
    out = depthwise.convolve(x, taps, dtype=torch.float16)
    assert out.dtype == torch.float16
    assert error(out, reference(x, taps)) < TOLERANCES[torch.float16]


@pytest.mark.parametrize('shape', SHAPES)
def test_input_gradient_with_that_of_the_residual(shape: tuple[int, ...], device: str) -> None:
    grad, taps, _ = random(shape, device, torch.float16)
    residual = torch.randn(shape, device=device)
    x = torch.zeros(shape, dtype=torch.float64, device=device, requires_grad=True)
    (expected,) = torch.autograd.grad(reference(x, taps), x, grad.double())
    found = depthwise.convolve(grad, taps, residual=residual, flip=True, dtype=torch.float32)
    assert error(found, expected + residual.double()) < 1e-6


@pytest.mark.parametrize('shape', SHAPES)
def test_weight_and_bias_gradients(shape: tuple[int, ...], device: str) -> None:
    x, taps, bias = (t.double().requires_grad_() for t in random(shape, device))
    grad = torch.randn(shape, device=device)
    expected = torch.autograd.grad(reference(x, taps, bias), (taps, bias), grad.double())
    found = depthwise.weight_gradient(x.detach().float(), grad)
    assert all(error(a, b) < 1e-6 for a, b in zip(found, expected, strict=True))


def test_weight_gradient_of_splits_that_have_several_tiles(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, 'splits', lambda blocks: 2)
    x, taps, bias = (t.double().requires_grad_() for t in random((1, 9, 17, 128), device))  # of 9 tiles
    grad = torch.randn(x.shape, device=device)
    expected = torch.autograd.grad(reference(x, taps, bias), (taps, bias), grad.double())
    found = depthwise.weight_gradient(x.detach().float(), grad)
    assert all(error(a, b) < 1e-6 for a, b in zip(found, expected, strict=True))


def test_order_of_the_taps(device: str) -> None:
    """A single 1 on the map comes out as the taps, turned by half a turn; flipped, as the taps themselves."""
    x = torch.zeros(1, 7, 7, 8, device=device)
    x[:, 3, 3] = 1
    taps = torch.arange(49.0, device=device)[:, None] + torch.arange(8, device=device) * 100
    assert torch.equal(depthwise.convolve(x, taps).view(49, 8), taps.flip(0))
    assert torch.equal(depthwise.convolve(x, taps, flip=True).view(49, 8), taps)
    grad = torch.arange(49.0, device=device).view(1, 7, 7, 1).expand(1, 7, 7, 8).contiguous()
    assert torch.equal(depthwise.weight_gradient(x, grad)[0], grad.view(49, 8).flip(0))


def test_input_gradient_is_the_adjoint(device: str) -> None:
    x, taps, _ = random((2, 5, 6, 16), device)
    grad = torch.randn_like(x)
    forward = (depthwise.convolve(x, taps).double() * grad).sum()
    back = (depthwise.convolve(grad, taps, flip=True).double() * x).sum()
    assert abs(forward - back) < 1e-5 * abs(forward)


@pytest.mark.parametrize('channels', WIDTHS)
def test_every_width(channels: int, device: str) -> None:
    x, taps, bias = (t.double().requires_grad_() for t in random((1, 1, 2, channels), device))
    grad = torch.randn(x.shape, device=device)
    out = reference(x, taps, bias)
    expected = [out.detach(), *torch.autograd.grad(out, (taps, bias), grad.double())]
    x, taps, bias = (t.detach().float() for t in (x, taps, bias))
    found = [depthwise.convolve(x, taps, bias), *depthwise.weight_gradient(x, grad)]
    assert all(error(a, b) < 1e-6 for a, b in zip(found, expected, strict=True))


def test_gradients_repeat_bit_by_bit(device: str) -> None:
    x, taps, _ = random((2, 6, 9, 32), device)
    runs = [(*depthwise.weight_gradient(x, x), depthwise.convolve(x, taps, flip=True)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
