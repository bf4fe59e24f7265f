from types import ModuleType

import pytest
import torch
from mmcv.ops import DeformConv2d, DeformConv2dPack, deform_conv2d
from mmcv.ops.saconv import SAConv2d
from torch import Tensor

from mmconvnext.compat.ops import deformable
from tests.compat.deformable_definition import Case, definition, random_case

pytestmark = pytest.mark.usefixtures('stand_in')


def unmasked(seed: int) -> Case:
    case = random_case(seed)
    return case._replace(mask=torch.ones_like(case.mask), bias=torch.zeros_like(case.bias))


def layer_of(case: Case, **kwargs: int) -> DeformConv2d:
    outputs, _, *kernel = case.weight.shape
    layer = DeformConv2d(
        case.input.shape[1],
        outputs,
        tuple(kernel),
        case.stride,
        case.padding,
        case.dilation,
        case.groups,
        case.deform_groups,
        **kwargs,
    )
    layer.weight = torch.nn.Parameter(case.weight.clone())
    return layer


def outcome(layer: DeformConv2d, case: Case) -> dict[str, Tensor]:
    """Output and gradients, of whatever dtype the case has."""
    leaves = {name: getattr(case, name).clone().requires_grad_() for name in ('input', 'offset')}
    output = layer(leaves['input'], leaves['offset'])
    output.backward(case.grad_output)
    return {'output': output.detach(), 'weight': layer.weight.grad, **{k: v.grad for k, v in leaves.items()}}


@pytest.mark.parametrize('seed', range(20))
def test_definition(seed: int) -> None:
    case = unmasked(seed)
    output, grads = definition(case)
    expected = {'output': output, **{name: grads[name] for name in ('weight', 'input', 'offset')}}
    torch.testing.assert_close(outcome(layer_of(case), case), expected, rtol=1e-9, atol=1e-9)


def test_gradcheck() -> None:
    case = unmasked(3)
    leaves = [t.clone().requires_grad_() for t in (case.input, case.offset + 0.01, case.weight)]
    numbers = (case.stride, case.padding, case.dilation, case.groups, case.deform_groups)
    assert torch.autograd.gradcheck(lambda *tensors: deform_conv2d(*tensors, *numbers), leaves)


def test_new_layer_s_offsets_have_no_gradient_one_pixel_outside() -> None:
    # Torchvision's own operator has one there
    layer = DeformConv2dPack(3, 2, 3, padding=1)
    offsets = []
    layer.conv_offset.register_forward_hook(lambda module, args, output: offsets.append(output))
    output = layer(torch.randn(1, 3, 5, 6))
    offsets[0].retain_grad()
    output.sum().backward()
    grad = offsets[0].grad.view(3, 3, 2, 5, 6)
    for outside in (grad[0, :, :, 0], grad[:, 0, :, :, 0]):
        assert not outside.any()
    assert grad[1:, 1:].all(0).any()  # inside there is one


@pytest.mark.parametrize('im2col_step', [1, 2, 4, 32])
def test_steps_do_not_matter(im2col_step: int) -> None:
    case = unmasked(0)
    tensors = {name: getattr(case, name)[:1].repeat(4, 1, 1, 1) for name in ('input', 'offset', 'grad_output', 'mask')}
    case = case._replace(**tensors)
    expected = outcome(layer_of(case), case)
    torch.testing.assert_close(outcome(layer_of(case, im2col_step=im2col_step), case), expected)
    torch.testing.assert_close(expected['output'], definition(case)[0])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_computes_in_single(dtype: torch.dtype) -> None:
    half = unmasked(1)._replace(**{name: t.to(dtype) for name, t in zip(Case._fields[:6], unmasked(1)[:6])})
    single = half._replace(**{name: t.float() for name, t in zip(Case._fields[:6], half[:6])})
    actual, expected = outcome(layer_of(half), half), outcome(layer_of(single), single)
    for name, tensor in actual.items():
        assert tensor.dtype == dtype
        assert torch.equal(tensor, expected[name].to(dtype)), name


def test_autocast() -> None:
    layer = DeformConv2dPack(3, 2, 3, padding=1)
    torch.nn.init.normal_(layer.conv_offset.weight, std=0.1)
    x = torch.randn(2, 3, 5, 6)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        output = layer(x)
        offset = layer.conv_offset(x)
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16  # mmcv follows the offsets
    case = Case(
        x.bfloat16(),
        layer.weight.detach().bfloat16(),
        offset.detach(),
        torch.ones(2, 9, 5, 6),
        torch.zeros(2),
        torch.ones(2, 2, 5, 6),
        (1, 1),
        (1, 1),
        (1, 1),
        1,
        1,
    )
    expected, grads = definition(case)
    torch.testing.assert_close(output.double(), expected, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(layer.weight.grad.double(), grads['weight'], rtol=1e-2, atol=1e-2)


def test_channels_last() -> None:
    case = unmasked(2)
    assert min(case.input.shape[1:]) > 1
    other = case._replace(
        **{name: getattr(case, name).to(memory_format=torch.channels_last) for name in ('input', 'offset')}
    )
    torch.testing.assert_close(outcome(layer_of(other), other), outcome(layer_of(case), case))


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf'), 1e38])
def test_offsets_that_are_no_numbers_sample_nothing(value: float) -> None:
    # Enough of them that torchvision's own operator would end the process
    x, weight = torch.randn(1, 8, 60, 60), torch.randn(2, 8, 3, 3)
    offset = torch.zeros(1, 18, 60, 60)
    offset[:, :2] = value  # of the first tap
    leaves = [tensor.requires_grad_() for tensor in (x, offset, weight)]
    output = deform_conv2d(*leaves, 1, 1, 1)
    without = weight.detach().clone()
    without[:, :, 0, 0] = 0
    torch.testing.assert_close(output, torch.nn.functional.conv2d(x, without, padding=1))
    output.sum().backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)
    assert not weight.grad[:, :, 0, 0].any()
    assert weight.grad[:, :, 0, 1].all()


def test_input_smaller_than_the_kernel() -> None:
    layer = DeformConv2d(2, 3, 3, padding=1)
    x = torch.randn(1, 2, 2, 5)
    output = layer(x, torch.zeros(1, 18, 2, 5))
    torch.testing.assert_close(output, torch.nn.functional.conv2d(x, layer.weight, padding=1))


def test_what_the_gradients_are_written_to(stand_in: ModuleType) -> None:
    # Called as mmcv does, with x before y, but for gradients that do not start at zero
    case = unmasked(5)
    assert case.stride[0] != case.stride[1]
    assert case.dilation[0] != case.dilation[1]
    grads = {name: torch.ones_like(getattr(case, name)) for name in ('input', 'offset', 'weight')}
    numbers = dict(
        kW=case.weight.shape[3],
        kH=case.weight.shape[2],
        dW=case.stride[1],
        dH=case.stride[0],
        padW=case.padding[1],
        padH=case.padding[0],
        dilationW=case.dilation[1],
        dilationH=case.dilation[0],
        group=case.groups,
        deformable_group=case.deform_groups,
        im2col_step=1,
    )
    scratch = torch.empty(0), torch.empty(0)
    stand_in.deform_conv_backward_input(
        case.input,
        case.offset,
        case.grad_output,
        grads['input'],
        grads['offset'],
        case.weight,
        scratch[0],
        **numbers,
    )
    # Of another output: nothing is taken over from the call before
    stand_in.deform_conv_backward_parameters(
        case.input, case.offset, 3 * case.grad_output, grads['weight'], *scratch, scale=2, **numbers
    )
    expected = definition(case)[1]
    torch.testing.assert_close(grads['input'], 1 + expected['input'])
    torch.testing.assert_close(grads['offset'], expected['offset'])
    torch.testing.assert_close(grads['weight'], 1 + 6 * expected['weight'])


def test_backward_passes_of_one_graph_do_not_mix() -> None:
    case = unmasked(5)
    layer = layer_of(case)
    output = layer(case.input, case.offset.clone().requires_grad_())
    expected = definition(case)[1]['weight']
    for factor in (1, 3):  # the gradients are linear
        layer.weight.grad = None
        output.backward(factor * case.grad_output, retain_graph=True)
        torch.testing.assert_close(layer.weight.grad, factor * expected)


def test_both_gradients_cost_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    backward = deformable.backward
    monkeypatch.setattr(deformable, 'backward', lambda *args: calls.append(args) or backward(*args))
    case = unmasked(5)
    outcome(layer_of(case), case)
    assert len(calls) == 1


def test_only_the_weight_needs_a_gradient() -> None:
    case = unmasked(5)
    layer = layer_of(case)
    layer(case.input, case.offset).backward(case.grad_output)
    torch.testing.assert_close(layer.weight.grad, definition(case)[1]['weight'])


def test_empty_batch(stand_in: ModuleType) -> None:
    # mmcv's layer refuses it before it calls the operator
    weight, scratch = torch.randn(4, 3, 3, 3), torch.empty(0)
    x, offset, output = torch.empty(0, 3, 5, 6), torch.empty(0, 18, 5, 6), torch.empty(0, 4, 5, 6)
    numbers = dict(kW=3, kH=3, dW=1, dH=1, padW=1, padH=1, dilationW=1, dilationH=1, group=1, deformable_group=1)
    stand_in.deform_conv_forward(x, weight, offset, output, scratch, scratch, **numbers, im2col_step=1)
    grads = torch.zeros_like(x), torch.zeros_like(offset)
    stand_in.deform_conv_backward_input(x, offset, output, *grads, weight, scratch, **numbers, im2col_step=1)
    grad = torch.zeros_like(weight)
    stand_in.deform_conv_backward_parameters(
        x, offset, output, grad, scratch, scratch, **numbers, scale=1, im2col_step=1
    )
    assert not grad.any()


def test_switchable_atrous_convolution() -> None:
    layer = SAConv2d(4, 6, 3, padding=1, use_deform=True)
    x = torch.randn(2, 4, 7, 8, requires_grad=True)
    layer(x).sum().backward()
    assert layer.offset_s.weight.grad.any()
    assert x.grad.any()
