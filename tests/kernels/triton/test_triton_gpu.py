"""The same at the sizes of training, on a GPU."""

import copy
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from mmconvnext import ConvNeXt, kernels
from mmconvnext.kernels import dispatch
from mmconvnext.kernels.triton import depthwise
from tests.conftest import HAS_GPU

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not HAS_GPU, reason=f'needs a GPU of compute capability {dispatch.CAPABILITIES}'),
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


def objective(outs: Iterable[Tensor]) -> Tensor:
    """Weighs all numbers differently: their mean square is what the output norms make constant."""
    return sum((out * torch.linspace(-1, 1, out.numel(), device=out.device).view_as(out)).mean() for out in outs)


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


def build(version: int) -> ConvNeXt:
    return ConvNeXt('tiny', version=version, layer_scale_init_value=1.0 if version == 1 else None).cuda()


def backward(model: nn.Module, x: Tensor, path: str, memory: str = 'balanced') -> dict[str, Tensor]:
    """Every parameter's gradient; under autocast, unless the map is float64."""
    model.zero_grad()
    with kernels.use(path, memory), torch.autocast('cuda', torch.bfloat16, enabled=x.dtype == torch.float32):
        outs = model(x)
    objective(outs).backward()
    return {name.removeprefix('_orig_mod.'): p.grad.clone() for name, p in model.named_parameters()}


def assert_as_close_as_the_layers(found: dict[str, Tensor], backbone: ConvNeXt, x: Tensor) -> None:
    layers = backward(backbone, x, 'reference')
    expected = backward(copy.deepcopy(backbone).double(), x.double(), 'reference')
    for name, e in expected.items():
        assert error(found[name], e) <= 2 * error(layers[name], e) + 1e-3, name


@pytest.mark.parametrize('version', [1, 2])
@pytest.mark.parametrize('memory', ['speed', 'balanced', 'min'])
def test_a_backbone_is_as_close_to_float64_as_its_layers_are(version: int, memory: str) -> None:
    backbone, x = build(version), torch.randn(2, 3, 256, 320, device='cuda')
    assert_as_close_as_the_layers(backward(backbone, x, 'triton', memory), backbone, x)


@pytest.mark.parametrize('version', [1, 2])
@pytest.mark.parametrize('memory', ['speed', 'balanced', 'min'])
def test_backward_repeats_bit_by_bit(version: int, memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The layers between the stages are cuDNN's, which may add up in any order unless told otherwise
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', True)
    backbone, x = build(version), torch.randn(2, 3, 256, 320, device='cuda')
    first, second = (backward(backbone, x, 'triton', memory) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first if name.startswith('stages'))


@pytest.mark.parametrize('version', [1, 2])
def test_compilers_with_cuda_graphs(version: int) -> None:
    backbone = build(version)
    compiled = torch.compile(backbone, mode='reduce-overhead', fullgraph=True)
    for _ in range(4):  # the first steps compile, warm up and capture
        x = torch.randn(2, 3, 256, 320, device='cuda')
        found = backward(compiled, x, 'triton')
    assert_as_close_as_the_layers(found, backbone, x)


def test_a_captured_training_step_follows_its_input() -> None:
    backbone, x = build(1), torch.randn(2, 3, 256, 320, device='cuda')
    graph, aside = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # compiles, and starts the libraries, which a capture must not
        for _ in range(3):
            backward(backbone, x, 'triton')
    torch.cuda.current_stream().wait_stream(aside)
    with torch.cuda.graph(graph):
        found = backward(backbone, x, 'triton')
    x.copy_(torch.randn_like(x))
    graph.replay()
    assert_as_close_as_the_layers(found, backbone, x)


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
    # Ten times as far as the layers in bfloat16 were from those in float32 on a CPU
    assert ((found - reference).abs() < 3e-3 * reference[0]).all()
