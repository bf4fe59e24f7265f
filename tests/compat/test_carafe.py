"""Against CARAFE's definition, an output at a time in plain Python; its gradients from autograd over the same loops."""

from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import CARAFE, CARAFENaive, CARAFEPack, carafe
from torch import Tensor

pytestmark = pytest.mark.usefixtures('stand_in')

TOLERANCE = dict(rtol=1e-6, atol=1e-9)


def definition(features: Tensor, masks: Tensor, kernel: int, groups: int, scale: int) -> Tensor:
    n, channels, height, width = features.shape
    out = []
    for b in range(n):
        for c in range(channels):
            group = c // (channels // groups)
            for y in range(height * scale):
                for x in range(width * scale):
                    total = 0 * features[b, c, 0, 0]
                    for i in range(kernel):
                        for j in range(kernel):
                            row, column = y // scale + i - kernel // 2, x // scale + j - kernel // 2
                            if 0 <= row < height and 0 <= column < width:
                                weight = masks[b, (group * kernel + i) * kernel + j, y, x]
                                total = total + weight * features[b, c, row, column]
                    out.append(total)
    return torch.stack(out).view(n, channels, height * scale, width * scale)


def case(seed: int) -> tuple[Tensor, Tensor, tuple[int, int, int]]:
    """Features, masks, and kernel size, groups and scale."""
    torch.manual_seed(seed)
    kernel, groups, scale = [1, 3, 5][seed % 3], 1 + seed // 3 % 2, 1 + seed % 4 % 3
    n, in_group, height, width = 1 + seed % 2, 1 + seed % 2, 1 + seed % 4, 1 + seed * 3 % 5
    features = torch.randn(n, groups * in_group, height, width, dtype=torch.double)
    masks = torch.randn(n, groups * kernel**2, height * scale, width * scale, dtype=torch.double)
    if seed % 3 == 1:
        features, masks = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (features, masks))
    return features.requires_grad_(), masks.requires_grad_(), (kernel, groups, scale)


@pytest.mark.parametrize('seed', range(20))
def test_forward_and_backward(seed: int) -> None:
    features, masks, settings = case(seed)
    out, expected = CARAFE(*settings)(features, masks), definition(features, masks, *settings)
    torch.testing.assert_close(out, expected, **TOLERANCE)
    grad = torch.randn_like(out).transpose(2, 3).contiguous().transpose(2, 3)
    gradients = [torch.autograd.grad(x, (features, masks), grad) for x in (out, expected)]
    torch.testing.assert_close(*gradients, **TOLERANCE)


@pytest.mark.parametrize('seed', range(20))
def test_naive(stand_in: ModuleType, seed: int) -> None:
    features, masks, settings = case(seed)
    out, expected = CARAFENaive(*settings)(features, masks), definition(features, masks, *settings)
    torch.testing.assert_close(out, expected, **TOLERANCE)
    # mmcv's own layer has no backward pass on the CPU
    grad, gradients = torch.randn_like(out), (torch.zeros_like(features), torch.zeros_like(masks))
    names = dict(zip(('kernel_size', 'group_size', 'scale_factor'), settings))
    stand_in.carafe_naive_backward(grad, features.detach(), masks.detach(), *gradients, **names)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, (features, masks), grad), **TOLERANCE)


def test_pack_is_a_softmax_over_each_window() -> None:
    pack = CARAFEPack(4, 2, up_kernel=3, up_group=2, compressed_channels=5).double()
    torch.nn.init.normal_(pack.content_encoder.weight)  # mmcv's start makes all kernels nearly equal
    image = torch.randn(2, 4, 3, 5, dtype=torch.double, requires_grad=True)
    out = pack(image)
    kernels = F.pixel_shuffle(pack.content_encoder(pack.channel_compressor(image)), 2)
    kernels = kernels.view(2, 2, 9, 6, 10).softmax(2).view(2, 18, 6, 10)
    expected = definition(image, kernels, 3, 2, 2)
    torch.testing.assert_close(out, expected, **TOLERANCE)
    leaves = [image, *pack.parameters()]
    gradients = [torch.autograd.grad(x.square().sum(), leaves, retain_graph=True) for x in (out, expected)]
    torch.testing.assert_close(*gradients, **TOLERANCE)


def test_no_images() -> None:
    features, masks = torch.randn(0, 4, 7, 7, requires_grad=True), torch.randn(0, 25, 14, 14, requires_grad=True)
    out = carafe(features, masks, 5, 1, 2)
    assert out.shape == (0, 4, 14, 14)
    out.sum().backward()
    assert features.grad.shape == features.shape
    assert masks.grad.shape == masks.shape


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_computes_in_single(dtype: torch.dtype) -> None:
    half = [torch.randn(1, 4, 3, 5).to(dtype), torch.rand(1, 25, 6, 10).to(dtype)]
    single = [tensor.float() for tensor in half]
    outs = [carafe(*(tensor.requires_grad_() for tensor in leaves), 5, 1, 2) for leaves in (half, single)]
    assert torch.equal(outs[0], outs[1].to(dtype))
    grad = torch.randn_like(outs[0])
    gradients = torch.autograd.grad(outs[0], half, grad), torch.autograd.grad(outs[1], single, grad.float())
    for ours, expected in zip(*gradients):
        assert torch.equal(ours, expected.to(dtype))
