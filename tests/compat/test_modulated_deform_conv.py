from types import ModuleType

import pytest
import torch
from mmcv.ops import ModulatedDeformConv2d, ModulatedDeformConv2dPack, modulated_deform_conv2d
from torch import Tensor

from tests.compat.deformable_definition import Case, definition, random_case

pytestmark = pytest.mark.usefixtures('stand_in')

LEAVES = 'input', 'offset', 'mask', 'weight', 'bias'


def outcome(case: Case, with_bias: bool = True) -> dict[str, Tensor]:
    """Output and gradients, of whatever dtype the case has."""
    leaves = {name: getattr(case, name).clone().requires_grad_() for name in LEAVES[: 5 if with_bias else 4]}
    arguments = dict(leaves) if with_bias else {**leaves, 'bias': None}
    output = modulated_deform_conv2d(
        *arguments.values(), case.stride, case.padding, case.dilation, case.groups, case.deform_groups
    )
    output.backward(case.grad_output)
    return {'output': output.detach(), **{name: leaf.grad for name, leaf in leaves.items()}}


@pytest.mark.parametrize('seed', range(100, 120))
def test_definition(seed: int) -> None:
    case = random_case(seed)
    output, grads = definition(case)
    torch.testing.assert_close(outcome(case), {'output': output, **grads}, rtol=1e-9, atol=1e-9)


def test_no_bias() -> None:
    case = random_case(0)
    output, grads = definition(case._replace(bias=torch.zeros_like(case.bias)))
    del grads['bias']
    torch.testing.assert_close(outcome(case, with_bias=False), {'output': output, **grads}, rtol=1e-9, atol=1e-9)


def test_gradcheck() -> None:
    case = random_case(3)
    case = case._replace(offset=case.offset + 0.01)
    numbers = (case.stride, case.padding, case.dilation, case.groups, case.deform_groups)
    leaves = [getattr(case, name).clone().requires_grad_() for name in LEAVES]
    assert torch.autograd.gradcheck(lambda *tensors: modulated_deform_conv2d(*tensors, *numbers), leaves)


@pytest.mark.parametrize('deform_groups', [1, 2])
def test_pack(deform_groups: int) -> None:
    # What mmcv's layer makes of its convolution's output: offsets, then the logits of the mask
    layer = ModulatedDeformConv2dPack(4, 6, 3, padding=1, deform_groups=deform_groups, groups=2).double()
    torch.nn.init.normal_(layer.conv_offset.weight, std=0.3)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 4, 5, 7, dtype=torch.double, requires_grad=True)
    output = layer(x)
    grad_output = torch.randn_like(output)
    output.backward(grad_output)

    parts = layer.conv_offset(x).split([18 * deform_groups, 9 * deform_groups], 1)
    offset, mask = parts[0], parts[1].sigmoid()
    numbers = (1, 1), (1, 1), (1, 1), 2, deform_groups
    expected, grads = definition(
        Case(*(t.detach() for t in (x, layer.weight, offset, mask, layer.bias)), grad_output, *numbers)
    )
    torch.testing.assert_close(output, expected)
    for name in ('weight', 'bias'):
        torch.testing.assert_close(getattr(layer, name).grad, grads[name])
    # The input's gradient is the sum of what flows through the samples, the offsets and the mask
    through = torch.autograd.grad((offset, mask), x, (grads['offset'], grads['mask']))[0]
    torch.testing.assert_close(x.grad, grads['input'] + through)


def test_new_layer_halves_a_convolution() -> None:
    layer = ModulatedDeformConv2d(3, 4, (1, 3), stride=2, padding=1, dilation=2)
    x = torch.randn(2, 3, 6, 9)
    out = torch.nn.functional.conv2d(x, layer.weight, stride=2, padding=1, dilation=2)
    mask = torch.full((2, 3, *out.shape[2:]), 0.5)
    torch.testing.assert_close(layer(x, torch.zeros(2, 6, *out.shape[2:]), mask), out / 2)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_computes_in_single(dtype: torch.dtype) -> None:
    case = random_case(1)
    half = case._replace(**{name: t.to(dtype) for name, t in zip(Case._fields[:6], case[:6])})
    single = half._replace(**{name: t.float() for name, t in zip(Case._fields[:6], half[:6])})
    actual, expected = outcome(half), outcome(single)
    for name, tensor in actual.items():
        assert tensor.dtype == dtype
        assert torch.equal(tensor, expected[name].to(dtype)), name


def test_autocast() -> None:
    layer = ModulatedDeformConv2dPack(3, 2, 3, padding=1)
    x = torch.randn(2, 3, 5, 6)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        output = layer(x)
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16  # mmcv follows the offsets
    assert layer.weight.grad.dtype == torch.float32
    expected = torch.nn.functional.conv2d(x, layer.weight, padding=1) / 2
    torch.testing.assert_close(output.float(), expected, rtol=2e-2, atol=2e-2)


def test_offsets_that_are_no_numbers_sample_nothing() -> None:
    # Enough of them that torchvision's own operator would end the process
    x, weight, mask = torch.randn(1, 8, 60, 60), torch.randn(2, 8, 3, 3), torch.rand(1, 9, 60, 60)
    offset = torch.full((1, 18, 60, 60), float('nan'))
    leaves = [tensor.requires_grad_() for tensor in (x, offset, mask, weight)]
    output = modulated_deform_conv2d(*leaves, None, 1, 1)
    output.sum().backward()
    assert not output.any()
    assert not any(leaf.grad.any() for leaf in leaves)


def test_what_the_gradients_are_written_to(stand_in: ModuleType) -> None:
    case = random_case(5)
    grads = {name: torch.ones_like(getattr(case, name)) for name in ('input', 'weight', 'bias', 'offset', 'mask')}
    scratch = torch.empty(0)
    numbers = *case.weight.shape[2:], *case.stride, *case.padding, *case.dilation, case.groups, case.deform_groups
    inputs = case.input, case.weight, case.bias, scratch, case.offset, case.mask, scratch
    stand_in.modulated_deform_conv_backward(*inputs, *grads.values(), case.grad_output, *numbers, True)
    expected = definition(case)[1]
    for name, grad in grads.items():
        added = name in ('input', 'weight', 'bias')
        torch.testing.assert_close(grad, added + expected[name], msg=name)


def test_empty_batch(stand_in: ModuleType) -> None:
    # mmcv's layer refuses it before it calls the operator
    weight, bias, scratch = torch.randn(4, 3, 3, 3), torch.randn(4), torch.empty(0)
    x, offset, mask = (torch.empty(0, channels, 5, 6) for channels in (3, 18, 9))
    output = torch.empty(0, 4, 5, 6)
    numbers = 3, 3, 1, 1, 1, 1, 1, 1, 1, 1
    inputs = x, weight, bias, scratch, offset, mask
    stand_in.modulated_deform_conv_forward(*inputs, output, scratch, *numbers, True)
    grads = [torch.zeros_like(t) for t in (x, weight, bias, offset, mask)]
    stand_in.modulated_deform_conv_backward(*inputs, scratch, *grads, output, *numbers, True)
    assert not any(grad.any() for grad in grads)
