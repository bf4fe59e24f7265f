import copy

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmconvnext import ConvNeXt, kernels
from mmconvnext.backbones.convnext import Block
from mmconvnext.kernels.triton import operators

VERSIONS = {'v1': (1.0, False), 'v1 without layer scale': (0.0, False), 'v2': (0.0, True)}
# By width and dtype of the products: 16 is narrow, 24 is not, and float32 never is
PATHS = {'narrow': (16, torch.float16), 'wide': (24, torch.float16), 'float32': (16, torch.float32)}
TOLERANCES = {torch.float32: 3e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def build(channels: int, version: str, device: str) -> Block:
    layer_scale, use_grn = VERSIONS[version]
    block = Block(channels, 0.0, layer_scale, use_grn).to(device)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return block


def results(block: nn.Module, x: Tensor, path: str, memory: str = 'balanced') -> dict[str, Tensor]:
    """Output, gradient of the input, and of every parameter."""
    torch.manual_seed(1)  # of stochastic depth
    x = x.detach().clone().requires_grad_()
    block.zero_grad()
    with kernels.use(path, memory):
        out = block(x)
        (out * torch.linspace(-1, 1, out.numel(), device=x.device).view_as(out)).sum().backward()
    named = {name.removeprefix('module.'): parameter.grad for name, parameter in block.named_parameters()}
    return {'out': out.detach(), 'x': x.grad, **named}


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    errors = {name: float((found[name].double() - e).norm() / e.norm()) for name, e in expected.items()}
    assert max(errors.values()) <= tolerance, errors


def float64(block: Block, x: Tensor) -> dict[str, Tensor]:
    return results(copy.deepcopy(block).double(), x.double(), 'reference')


@pytest.mark.parametrize('path', PATHS)
@pytest.mark.parametrize('version', VERSIONS)
def test_outputs_and_gradients_are_those_of_the_layers(path: str, version: str, device: str) -> None:
    channels, dtype = PATHS[path]
    block, x = build(channels, version, device).to(dtype), torch.randn(2, channels, 2, 3, device=device).to(dtype)
    assert kernels.why_not_triton(block, x) is None
    found = results(block, x, 'triton')
    assert all(tensor.dtype == dtype for tensor in found.values())
    assert_close(found, float64(block, x), TOLERANCES[dtype])


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_parameters_need_not_be_contiguous(version: str, device: str) -> None:
    block, x = build(16, version, device).half(), torch.randn(1, 16, 2, 3, device=device).half()
    expected = results(block, x, 'triton')
    for parameter in block.parameters():  # every other number of twice as much memory, last axis first
        strides = torch.tensor([2, *parameter.shape[:-1]]).cumprod(0).tolist()
        apart = torch.zeros(2 * parameter.numel(), device=device, dtype=parameter.dtype)
        parameter.data = apart.as_strided(parameter.shape, strides).copy_(parameter.data)
        assert not parameter.is_contiguous()
    assert_close(results(block, x, 'triton'), expected, 1e-3)


@pytest.mark.parametrize('memory', ['speed', 'min'])
@pytest.mark.parametrize('channels', [16, 24])
def test_what_is_kept_changes_no_result(memory: str, channels: int, device: str) -> None:
    block, x = build(channels, 'v2', device).half(), torch.randn(2, channels, 2, 3, device=device).half()
    assert_close(results(block, x, 'triton', memory), results(block, x, 'triton'), 1e-3)


@pytest.mark.parametrize(('memory', 'numbers'), [('speed', 6), ('balanced', 2), ('min', 1)])
def test_what_is_kept(memory: str, numbers: int, device: str) -> None:
    block = build(8, 'v1', device)
    x = torch.randn(1, 8, 2, 16, device=device, requires_grad=True)
    kept = {}
    known = {p.untyped_storage().data_ptr() for p in block.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in known:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with kernels.use('triton', memory), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = block(x)
    del out
    assert sum(kept.values()) == numbers * x.nbytes


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_autocast_keeps_the_residual_stream_in_its_dtype(dtype: torch.dtype, version: str, device: str) -> None:
    block, x = build(16, version, device), torch.randn(2, 16, 2, 3, device=device)
    with torch.autocast(device, dtype=dtype):
        found = results(block, x, 'triton')
    assert all(tensor.dtype == torch.float32 for tensor in found.values())
    assert_close(found, float64(block, x), TOLERANCES[dtype])
    assert (found['out'] - results(block, x, 'triton')['out']).norm() > 1e-6  # it did compute in half precision


def test_the_papers_layer_scale_does_not_vanish_in_float16(device: str) -> None:
    block, x = build(16, 'v1', device), 1e-4 * torch.randn(1, 16, 3, 4, device=device)
    nn.init.constant_(block.gamma, 1e-6)
    with torch.no_grad():  # the branch alone, which the stream's float32 holds
        with torch.autocast(device, dtype=torch.float16), kernels.use('triton'):
            found = block(x) - x
        with kernels.use('reference'):
            expected = copy.deepcopy(block).double()(x.double()) - x.double()
    assert (found - expected).norm() < 5e-3 * expected.norm()


def test_stochastic_depth_drops_the_same_samples(device: str) -> None:
    block, x = build(8, 'v1', device), torch.randn(6, 8, 1, 2, device=device)
    block.drop_path.rate = 0.6
    found, expected = results(block, x, 'triton'), results(block, x, 'reference')
    dropped = (found['out'] == x).flatten(1).all(1)
    assert 0 < dropped.sum() < 6
    assert_close(found, {name: tensor.double() for name, tensor in expected.items()}, 1e-5)


def test_every_sample_dropped(device: str) -> None:
    block, x = build(8, 'v2', device), torch.randn(2, 8, 1, 2, device=device)
    block.drop_path.rate = 0.999999
    found = results(block, x, 'triton')
    assert torch.equal(found.pop('out'), x)
    found.pop('x')
    assert all(not grad.any() for grad in found.values())


def test_a_channel_that_is_zero_everywhere_has_finite_gradients(device: str) -> None:
    block = build(16, 'v2', device)
    nn.init.zeros_(block.pwconv1.weight)
    nn.init.zeros_(block.pwconv1.bias)
    with torch.autocast(device, dtype=torch.float16):
        assert all(
            t.isfinite().all() for t in results(block, torch.randn(1, 16, 2, 3, device=device), 'triton').values()
        )


@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('memory', ['speed', 'balanced', 'min'])
def test_operators_pass_opcheck(version: str, memory: str, device: str) -> None:
    tensors = build(8, version, device).kernel_tensors()
    x = torch.randn(2, 1, 2, 8, device=device, requires_grad=True)
    scales = torch.tensor([2.0, 0.5], device=device)
    torch.library.opcheck(operators.block, (x, *tensors, scales, torch.float32, memory))
    with torch.no_grad():
        out, *kept = operators.block(x, *tensors, scales, torch.float32, memory)
    plain = [None if t is None else t.detach() for t in tensors]
    torch.library.opcheck(operators.block_backward, (out, x.detach(), *kept, *plain, scales, torch.float32))


def test_a_second_derivative_is_an_error_not_a_wrong_number(device: str) -> None:
    block, x = build(8, 'v1', device), torch.randn(1, 8, 1, 2, device=device, requires_grad=True)
    with kernels.use('triton'):
        (grad,) = torch.autograd.grad(block(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='block_backward'):
        grad.sum().backward()


@pytest.fixture
def backbone(device: str) -> ConvNeXt:
    """Narrow stages and a wide one, in float32."""
    arch = dict(depths=(1, 2, 1, 1), widths=(8, 16, 24, 32))
    return ConvNeXt(arch, layer_scale_init_value=1.0, drop_path_rate=0.2).to(device)


class Sum(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        # Not the mean square, which a norm makes constant
        outs = self.backbone(x)
        return sum((out * torch.linspace(-1, 1, out.numel(), device=x.device).view_as(out)).sum() for out in outs)


def test_a_backbone_of_them(backbone: ConvNeXt, device: str) -> None:
    x = torch.randn(2, 3, 32, 64, device=device)
    found, expected = results(Sum(backbone), x, 'triton'), results(Sum(backbone), x, 'reference')
    assert_close(found, {name: tensor.double() for name, tensor in expected.items()}, 1e-5)


def test_activation_checkpointing(backbone: ConvNeXt, device: str) -> None:
    x = torch.randn(1, 3, 32, 32, device=device)
    expected = results(Sum(backbone), x, 'triton')
    for stage in backbone.stages:
        stage.with_cp = True
    assert_close(results(Sum(backbone), x, 'triton'), expected, 1e-6)


def test_distributed_data_parallel(backbone: ConvNeXt, device: str, tmp_path) -> None:
    x = torch.randn(1, 3, 32, 32, device=device)
    expected = results(Sum(backbone), x, 'triton')
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        found = results(nn.parallel.DistributedDataParallel(Sum(backbone)), x, 'triton')
    finally:
        dist.destroy_process_group()
    assert_close(found, expected, 1e-6)


@pytest.mark.parametrize('dynamic', [False, True])
def test_compilers_see_one_operator_for_each_block(dynamic: bool, device: str) -> None:
    block, x = build(16, 'v1', device), torch.randn(2, 16, 1, 2, device=device)
    compiled = torch.compile(block, backend='aot_eager', fullgraph=True, dynamic=dynamic)
    with torch.autocast(device, dtype=torch.bfloat16):
        found, expected = results(compiled, x, 'triton'), results(block, x, 'triton')
    found = {name.removeprefix('_orig_mod.'): tensor for name, tensor in found.items()}
    assert_close(found, expected, 1e-6)
