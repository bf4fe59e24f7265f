"""A kernel knows only a block's parameters, so it must not compute a block whose layers are not as built."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from mmconvnext.backbones.convnext import Block
from mmconvnext.backbones.layers import GRN


@pytest.fixture(params=[False, True], ids=['v1', 'v2'])
def block(request: pytest.FixtureRequest) -> Block:
    return Block(24, 0.0, 0.0 if request.param else 1.0, request.param)


def patch(layer: nn.Module) -> None:
    forward = layer.forward
    layer.forward = lambda x: 2 * forward(x)


ALTERATIONS = {
    'dilated': lambda b: (setattr(b.dwconv, 'dilation', (2, 2)), setattr(b.dwconv, 'padding', (6, 6))),
    'smaller kernel': lambda b: setattr(b, 'dwconv', nn.Conv2d(24, 24, 5, padding=2, groups=24)),
    'reflecting': lambda b: setattr(b, 'dwconv', nn.Conv2d(24, 24, 7, padding=3, groups=24, padding_mode='reflect')),
    'strided': lambda b: setattr(b.dwconv, 'stride', (2, 2)),
    'without bias': lambda b: setattr(b.pwconv2, 'bias', None),
    'eps of LayerNorm': lambda b: setattr(b.norm, 'eps', 0.1),
    'eps of GRN': lambda b: setattr(b, 'grn', GRN(96, eps=0.1)),
    'another activation': lambda b: setattr(b, 'grn', nn.ReLU()),
    'no stochastic depth': lambda b: setattr(b, 'drop_path', nn.Identity()),
    'wrapped': lambda b: setattr(b, 'pwconv1', nn.Sequential(b.pwconv1)),
    'patched': lambda b: patch(b.pwconv1),
    'parametrized': lambda b: parametrizations.weight_norm(b.pwconv1),
    'another layer': lambda b: b.add_module('adapter', nn.Identity()),
    'hooked': lambda b: b.pwconv1.register_forward_hook(lambda *args: None),
    'hooked before': lambda b: b.norm.register_forward_pre_hook(lambda *args: None),
    'hooked backward': lambda b: b.dwconv.register_full_backward_hook(lambda *args: None),
}


@pytest.mark.parametrize('alter', ALTERATIONS.values(), ids=ALTERATIONS)
def test_an_altered_block_gives_no_tensors_to_a_kernel(block: Block, alter: Callable[[Block], object]) -> None:
    assert block.kernel_tensors() is not None
    alter(block)
    assert block.kernel_tensors() is None


def test_a_hook_is_called(block: Block) -> None:
    seen = []
    handle = block.pwconv1.register_forward_hook(lambda *args: seen.append(1))
    block(torch.randn(1, 24, 8, 12))
    assert seen
    handle.remove()
    assert block.kernel_tensors() is not None
    handle = nn.modules.module.register_module_forward_hook(lambda module, *args: seen.append(type(module)))
    try:
        block(torch.randn(1, 24, 8, 12))
    finally:
        handle.remove()
    assert nn.Conv2d in seen
