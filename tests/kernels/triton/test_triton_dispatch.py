"""Where the Triton kernels take a block, and what computes it where they do not."""

import copy
import subprocess

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from mmconvnext import kernels
from mmconvnext.backbones.convnext import Block
from mmconvnext.kernels import dispatch


@pytest.fixture
def block(device: str) -> Block:
    return Block(8, 0.0, 1.0, False).to(device)


@pytest.fixture
def x(device: str) -> torch.Tensor:
    return torch.randn(1, 8, 2, 3, device=device)


def runs_triton(block: nn.Module, x: torch.Tensor) -> bool:
    kernel = dispatch.kernel_for(x, block.kernel_tensors)
    return kernel is not None and kernel.func is dispatch.triton_block


def refused(block: nn.Module, x: torch.Tensor, reason: str) -> None:
    """The layers compute it, for the reason given."""
    with kernels.use('triton'):
        assert reason in (kernels.why_not_triton(block, x) or 'It runs.')
        assert not runs_triton(block, x)
        with kernels.use('reference'):
            expected = block(x)
        out = block(x)
        assert out.is_meta or torch.equal(out, expected)


def test_it_runs_where_it_was_asked_for(block: Block, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    kernel = dispatch.triton_block
    monkeypatch.setattr(dispatch, 'triton_block', lambda *args, **kwargs: calls.append(1) or kernel(*args, **kwargs))
    block(x)
    assert not calls
    with kernels.use('triton'):
        block(x)
    assert calls


def test_auto_takes_the_layers_on_a_gpu(block: Block, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dispatch.AUTO['cuda'] == 'reference'
    assert not runs_triton(block, x)
    monkeypatch.setitem(dispatch.AUTO, x.device.type, 'triton')
    assert runs_triton(block, x)


def test_without_triton(block: Block, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, 'HAS_TRITON', False)
    refused(block, x, 'Triton 3.8 or newer is not installed.')


@pytest.mark.parametrize(
    ('version', 'enough'), [('3.8.0', True), ('3.10.1+git', True), ('4.0', True), ('3.7.1', False)]
)
def test_versions_of_triton(version: str, enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch.importlib.metadata, 'version', lambda name: version)
    assert dispatch._has_triton() == enough


def test_a_cpu_without_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, 'INTERPRETED', False)
    refused(Block(8, 0.0, 1.0, False), torch.randn(1, 8, 2, 3), 'NVIDIA')
    refused(Block(8, 0.0, 1.0, False).to('meta'), torch.randn(1, 8, 2, 3, device='meta'), 'NVIDIA')


class Fake:
    """Looks like a map on a GPU to what decides."""

    device = torch.device('cuda', 0)
    dtype = torch.float32
    shape = (2, 96, 4, 4)

    def numel(self) -> int:
        return 2 * 96 * 4 * 4


def fake_block(device: str) -> Block:
    with FakeTensorMode(), torch.device(device):
        return Block(96, 0.0, 1.0, False)


@pytest.mark.parametrize(('capability', 'runs'), [((8, 0), True), ((9, 0), True), ((8, 6), False), ((12, 0), False)])
def test_gpus(capability: tuple[int, int], runs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, 'Tensor', Fake)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: capability)
    reason = kernels.why_not_triton(fake_block('cuda:0'), Fake())
    assert (reason is None) == runs
    monkeypatch.setattr(torch.version, 'hip', '6.0')
    assert kernels.why_not_triton(fake_block('cuda:0'), Fake()) == 'The kernels are for NVIDIA GPUs.'


@pytest.mark.parametrize('device', ['cpu', 'cuda:1'])
def test_parameters_on_another_device_are_the_layers_error(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, 'Tensor', Fake)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (9, 0))
    reason = kernels.why_not_triton(fake_block(device), Fake())
    assert reason == 'The parameters are on another device than the input.'


def test_float64(block: Block, x: torch.Tensor) -> None:
    refused(block.double(), x.double(), 'torch.float64')


def test_a_float64_map_under_autocast(block: Block, x: torch.Tensor) -> None:
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        assert 'torch.float64' in kernels.why_not_triton(block, x.double())


@pytest.mark.parametrize('version', [1, 2])
def test_an_empty_batch(version: int, device: str) -> None:
    block = Block(8, 0.0, float(version == 1), version == 2).to(device)
    x = torch.randn(0, 8, 2, 3, device=device, requires_grad=True)
    refused(block, x, 'The batch is empty.')
    with kernels.use('triton'):
        block(x).sum().backward()
    assert x.grad.shape == x.shape


def test_parameters_in_another_dtype(block: Block, x: torch.Tensor) -> None:
    with kernels.use('triton'):
        assert 'another dtype' in kernels.why_not_triton(copy.deepcopy(block).bfloat16(), x)
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            assert kernels.why_not_triton(block, x) is None


def test_odd_widths(device: str) -> None:
    refused(Block(12, 0.0, 1.0, False).to(device), torch.randn(1, 12, 2, 3, device=device), '12 channels')


def test_maps_beyond_32_bit_offsets(block: Block, x: torch.Tensor) -> None:
    huge = x[:, :, :1, :1].expand(1, 8, 2**13, 2**13)
    assert '32-bit' in kernels.why_not_triton(block, huge)
    assert kernels.why_not_triton(block, huge[:, :, 1:]) is None


def test_matrices_beyond_32_bit_offsets(device: str) -> None:
    block, x = Block(96, 0.0, 0.0, True).to(device), torch.zeros(1, 96, 1, 1, device=device)
    assert '32-bit' in kernels.why_not_triton(block, x.expand(60000, 96, 1, 1))
    assert kernels.why_not_triton(block, x.expand(50000, 96, 1, 1)) is None


def test_more_samples_or_rows_than_a_launch_has_room_for(block: Block, x: torch.Tensor) -> None:
    pixel = x[:, :, :1, :1]
    for shape in (2**16, 8, 1, 1), (1, 8, 2**16, 1):
        assert kernels.why_not_triton(block, pixel.expand(shape)) == 'A launch has room for 65535 samples and rows.'
    for shape in (2**16 - 1, 8, 1, 1), (1, 8, 2**16 - 1, 1), (1, 8, 1, 2**16):
        assert kernels.why_not_triton(block, pixel.expand(shape)) is None


def test_a_hook_or_a_replaced_layer(block: Block, x: torch.Tensor) -> None:
    seen = []
    handle = block.pwconv1.register_forward_hook(lambda *args: seen.append(1))
    refused(block, x, 'hook')
    assert seen
    handle.remove()
    block.pwconv1 = nn.Sequential(block.pwconv1)
    refused(block, x, 'replaced')


def test_tracers_and_exporters_see_the_layers(block: Block, x: torch.Tensor) -> None:
    with kernels.use('triton'):
        traced = torch.jit.trace(block, x)
        assert 'mmconvnext::' not in str(traced.inlined_graph)
        exported = torch.export.export(block, (x,))
        assert 'mmconvnext.block' not in str(exported.graph)


def test_transforms_and_dispatch_modes_see_the_layers(block: Block, x: torch.Tensor) -> None:
    with kernels.use('triton'):
        torch.testing.assert_close(torch.vmap(block)(x[None])[0], block(x))
        with FlopCounterMode(display=False) as counter:
            block(x)
    assert counter.get_total_flops() > 0


def test_deterministic_mode_runs_the_same_kernels(
    block: Block, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # which PyTorch wants in that mode

    def grads() -> list[torch.Tensor]:
        with kernels.use('triton'):
            assert runs_triton(block, x)
            return list(torch.autograd.grad(block(x).square().sum(), list(block.parameters())))

    before = grads()
    torch.use_deterministic_algorithms(True)
    try:
        assert all(torch.equal(a, b) for a, b in zip(grads(), before, strict=True))
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.slow
def test_importing_the_package_does_not_import_triton(python: str) -> None:
    subprocess.run([python, '-c', "import mmconvnext, sys; sys.exit('triton' in sys.modules)"], check=True)
