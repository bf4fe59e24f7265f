"""The same at the sizes of training, on a GPU."""

import pytest
import torch
from torch import Tensor

from mmconvnext import ConvNeXt, kernels
from mmconvnext.kernels import choice
from mmconvnext.kernels.triton import depthwise

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() or torch.cuda.get_device_capability() not in choice.CAPABILITIES,
        reason='no GPU that the Triton kernels run on',
    ),
]
# Stages of ConvNeXt-T at 2 x 800 x 1344
MAPS = [(2, 200, 336, 96), (2, 100, 168, 192), (2, 50, 84, 384), (2, 25, 42, 768)]


def error(found: Tensor, expected: Tensor) -> float:
    assert found.isfinite().all()
    return float((found.double() - expected).norm() / expected.norm())


def reference(x: Tensor, taps: Tensor) -> Tensor:
    channels = x.shape[-1]
    weight = taps.double().t().reshape(channels, 1, 7, 7)
    return torch.conv2d(x.double().permute(0, 3, 1, 2), weight, padding=3, groups=channels).permute(0, 2, 3, 1)


@pytest.mark.parametrize('shape', MAPS)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float32])
def test_depthwise(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, grad = (torch.randn(shape, device='cuda').to(dtype) for _ in range(2))
    taps = torch.randn(49, shape[-1], device='cuda')
    expected = reference(x, taps)
    # Nothing but the rounding of the result, and a float32 sum
    floor = error(expected.to(dtype), expected)
    assert error(depthwise.convolve(x, taps), expected) <= 1.05 * floor + 1e-6
    x64, taps64 = x.double().requires_grad_(), taps.double().requires_grad_()
    grads = torch.autograd.grad(reference(x64, taps64), (x64, taps64), grad.double())
    found = depthwise.convolve(grad, taps, flip=True, dtype=torch.float32), depthwise.weight_gradient(x, grad)[0]
    assert all(error(a, b) < 1e-5 for a, b in zip(found, grads, strict=True))


@pytest.mark.parametrize('version', [1, 2])
@pytest.mark.parametrize('memory', ['speed', 'balanced', 'min'])
def test_a_backbone_is_as_close_to_float64_as_its_layers_are(version: int, memory: str) -> None:
    x = torch.randn(2, 3, 256, 320, device='cuda')
    backbone = ConvNeXt('tiny', version=version, layer_scale_init_value=1.0 if version == 1 else None).cuda()

    def grads(path: str, dtype: torch.dtype) -> dict[str, Tensor]:
        backbone.to(torch.float64 if dtype == torch.float64 else torch.float32).zero_grad()
        with kernels.use(path, memory), torch.autocast('cuda', dtype=dtype, enabled=dtype != torch.float64):
            outs = backbone(x.double() if dtype == torch.float64 else x)
        sum(out.square().mean() for out in outs).backward()
        return {name: p.grad.double().clone() for name, p in backbone.named_parameters()}

    layers, found = grads('reference', torch.bfloat16), grads('triton', torch.bfloat16)
    expected = grads('reference', torch.float64)
    for name, e in expected.items():
        assert error(found[name], e) <= 2 * error(layers[name], e) + 1e-3, name


def test_backward_repeats_bit_by_bit() -> None:
    torch.manual_seed(0)
    backbone = ConvNeXt('tiny', layer_scale_init_value=1.0).cuda()
    x = torch.randn(2, 3, 256, 320, device='cuda')

    def grads() -> list[Tensor]:
        with kernels.use('triton'), torch.autocast('cuda', dtype=torch.bfloat16):
            loss = sum(out.square().mean() for out in backbone(x))
        return list(torch.autograd.grad(loss, [p for name, p in backbone.stages.named_parameters()]))

    assert all(torch.equal(a, b) for a, b in zip(grads(), grads(), strict=True))


def test_cuda_graphs_and_compilers() -> None:
    backbone = ConvNeXt('tiny').cuda().eval()
    x = torch.randn(2, 3, 256, 320, device='cuda')
    with kernels.use('triton'), torch.inference_mode(), torch.autocast('cuda', dtype=torch.bfloat16):
        expected = [out.clone() for out in backbone(x)]
        compiled = torch.compile(backbone, mode='reduce-overhead', fullgraph=True)
        for _ in range(3):
            found = [out.clone() for out in compiled(x)]
        assert all(error(a, b.double()) < 2e-2 for a, b in zip(found, expected, strict=True))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = backbone(x)
        graph.replay()
        assert all(torch.equal(a, b) for a, b in zip(captured, expected, strict=True))


@pytest.mark.slow
def test_loss_of_200_steps_lies_over_that_of_the_layers() -> None:
    def losses(path: str) -> Tensor:
        torch.manual_seed(0)
        arch = dict(depths=(1, 1, 2, 1), widths=(48, 96, 192, 384))
        backbone = ConvNeXt(arch, layer_scale_init_value=1.0).cuda()
        optimizer = torch.optim.AdamW(backbone.parameters(), lr=1e-3)
        batches = torch.randn(8, 4, 3, 128, 160, device='cuda')
        targets = torch.randn(8, 4, 384, 4, 5, device='cuda')
        found = []
        for step in range(200):
            with kernels.use(path), torch.autocast('cuda', dtype=torch.bfloat16):
                loss = (backbone(batches[step % 8])[-1].float() - targets[step % 8]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.detach())
        return torch.stack(found)

    reference, found = losses('reference'), losses('triton')
    assert reference[-20:].mean() < 0.8 * reference[0]
    assert ((found - reference).abs() < 0.03 * reference[0]).all()
