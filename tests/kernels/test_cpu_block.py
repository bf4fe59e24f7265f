import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch._dynamo.backends.common import aot_autograd

from mmconvnext import kernels
from mmconvnext.backbones.convnext import Block
from mmconvnext.kernels import dispatch
from mmconvnext.kernels.cpu import operators
from mmconvnext.kernels.tensors import BlockTensors

VERSIONS = {'v1': (1.0, False), 'v1 without layer scale': (0.0, False), 'v2': (0.0, True)}


@pytest.fixture(params=VERSIONS)
def block(request: pytest.FixtureRequest) -> Block:
    torch.manual_seed(0)
    layer_scale, use_grn = VERSIONS[request.param]
    block = Block(24, 0.0, layer_scale, use_grn)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return block


def results(block: nn.Module, x: torch.Tensor, path: str) -> list[torch.Tensor]:
    """Output, gradient of the input, and of every parameter."""
    torch.manual_seed(1)  # of stochastic depth
    x = x.clone().requires_grad_()
    block.zero_grad()
    with kernels.use(path):
        out = block(x)
    (out * torch.linspace(-1, 1, out.numel(), dtype=x.dtype).view_as(out)).sum().backward()
    return [out.detach(), x.grad, *(parameter.grad for parameter in block.parameters())]


def has_kernel(block: Block, x: torch.Tensor) -> bool:
    return dispatch.kernel_for(x, block.kernel_tensors) is not None


def assert_close(found: list[torch.Tensor], expected: list[torch.Tensor], tolerance: float) -> None:
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() <= tolerance * b.norm()


# One pixel, one chunk, and several chunks, with a size that the tiles of the weight gradient do not divide
@pytest.mark.parametrize('shape', [(1, 24, 1, 1), (2, 24, 9, 13), (2, 24, 53, 61)])
def test_outputs_and_gradients_are_those_of_the_layers(block: Block, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    assert has_kernel(block, x)
    assert_close(results(block, x, 'auto'), results(block.double(), x.double(), 'reference'), 1e-5)


def test_what_min_does_not_keep_is_computed_again(block: Block) -> None:
    block.drop_path.rate = 0.3
    x = torch.randn(2, 24, 53, 61)
    expected = results(block, x, 'auto')
    with kernels.use('auto', 'min'):
        assert_close(results(block, x, 'auto'), expected, 1e-6)


def test_operators_pass_opcheck(block: Block) -> None:
    tensors = block.kernel_tensors()
    x = torch.randn(2, 3, 2, 24, requires_grad=True)
    scales = torch.tensor([2.0, 0.0])
    torch.library.opcheck(operators.cpu_block_operator, (x, *tensors, scales, True))
    with torch.no_grad():
        out, y = operators.cpu_block_operator(x, *tensors, scales, True)
    plain = [None if t is None else t.detach() for t in tensors]
    torch.library.opcheck(operators.cpu_block_backward_operator, (out, x.detach(), y, *plain, scales))


@pytest.mark.slow
def test_compiled_it_is_one_operator_for_any_size(block: Block) -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list) -> Callable:
        graphs.append(str(graph.graph))
        return graph.forward

    compiled = torch.compile(block, backend=aot_autograd(fw_compiler=backend), fullgraph=True, dynamic=True)
    for shape in [(2, 24, 9, 13), (3, 24, 11, 5)]:
        x = torch.randn(shape)
        assert_close(results(compiled, x, 'auto'), results(block, x, 'auto'), 1e-6)
    assert len(graphs) == 2  # forward and backward, once
    assert 'mmconvnext.cpu_block' in graphs[0]
    assert 'convolution' not in graphs[0]
    with torch.no_grad():
        assert_close([compiled(x)], [block(x)], 1e-6)


def test_stochastic_depth_drops_the_same_samples(block: Block) -> None:
    block.drop_path.rate = 0.6
    x = torch.randn(7, 24, 11, 8)
    found, expected = results(block, x, 'auto'), results(block, x, 'reference')
    dropped = (found[0] == x).flatten(1).all(1)
    assert 0 < dropped.sum() < 7
    assert_close(found, expected, 1e-5)


def test_every_sample_dropped(block: Block) -> None:
    block.drop_path.rate = 0.999999
    x = torch.randn(2, 24, 5, 6)
    found = results(block, x, 'auto')
    assert torch.equal(found[0], x)
    assert all(not grad.any() for grad in found[2:])


def test_an_output_may_be_changed_in_place(block: Block) -> None:
    x = torch.randn(2, 24, 9, 13, requires_grad=True)
    grads = []
    for path in ('auto', 'reference'):
        with kernels.use(path):
            (grad,) = torch.autograd.grad(block(x).mul_(2).square().sum(), x)
        grads.append(grad)
    assert_close([grads[0]], [grads[1]], 1e-5)


def test_gradients_are_derivatives(block: Block) -> None:
    block.double()
    x = torch.randn(2, 24, 3, 2, dtype=torch.float64, requires_grad=True)
    tensors = block.kernel_tensors()
    given = [t for t in tensors if t is not None]

    def run(x: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        rest = iter(given)
        t = BlockTensors(*(None if tensor is None else next(rest) for tensor in tensors))
        return operators.cpu_block(x, None, t, 'balanced')

    assert torch.autograd.gradcheck(run, (x, *given), fast_mode=True)


def test_a_channel_that_is_zero_everywhere_has_finite_gradients() -> None:
    block = Block(8, 0.0, 0.0, True)
    nn.init.constant_(block.grn.gamma, 0.5)
    nn.init.zeros_(block.pwconv1.weight)  # gelu(0) = 0 in every channel
    x = torch.randn(1, 8, 6, 7)
    assert all(grad.isfinite().all() for grad in results(block, x, 'auto'))
    assert_close(results(block, x, 'auto')[:2], results(block, x, 'reference')[:2], 1e-5)


def test_training_keeps_half_of_what_the_layers_keep() -> None:
    block = Block(24, 0.0, 1.0, False)
    x = torch.randn(1, 24, 40, 56, requires_grad=True)

    def saved(path: str, memory: str = 'balanced') -> int:
        kept = {}
        known = {p.untyped_storage().data_ptr() for p in block.parameters()}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in known:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with kernels.use(path, memory), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = block(x)
        del out
        return sum(kept.values())

    assert saved('auto') == 6 * x.nbytes
    assert saved('auto', 'min') == 2 * x.nbytes
    assert saved('auto') <= 0.6 * saved('reference')


def test_what_the_kernel_does_not_cover_runs_layer_by_layer(block: Block) -> None:
    x = torch.randn(1, 24, 8, 12)
    assert has_kernel(block, x)
    assert not has_kernel(block, x.double())
    assert not has_kernel(copy.deepcopy(block).bfloat16(), x)
    assert not has_kernel(block, x.to('meta'))
    with kernels.use('reference'):
        assert not has_kernel(block, x)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert not has_kernel(block, x)
        assert block(x).isfinite().all()


def test_an_empty_batch_and_forward_derivatives_run_layer_by_layer(block: Block) -> None:
    out = block(torch.randn(0, 24, 8, 12, requires_grad=True))
    out.sum().backward()
    assert out.shape == (0, 24, 8, 12)
    x = torch.randn(1, 24, 8, 12)
    _, derivative = torch.func.jvp(block, (x,), (torch.ones_like(x),))
    assert derivative.isfinite().all()
    with torch.autograd.forward_ad.dual_level():
        dual = block(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(dual).tangent, derivative)
