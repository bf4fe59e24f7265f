"""Tells whether a block is one that a kernel may compute in its layers' place."""

from typing import Any

from torch import nn

from mmconvnext.backbones.layers import GRN, DropPath
from mmconvnext.kernels.tensors import EPS

LAYERS = ('dwconv', 'norm', 'pwconv1', 'grn', 'pwconv2', 'drop_path')
HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')


def is_plain(block: Any) -> bool:
    """Whether a block's layers are as they were built.

    A layer that was replaced, parametrized, hooked, patched or given another geometry computes something that a kernel
    does not know of.
    """
    layers = block._modules
    if (
        tuple(layers) != LAYERS
        or nn.modules.module._has_any_global_hook()
        or not all(map(is_untouched, layers.values()))
    ):
        return False
    dwconv, norm, pwconv1, grn, pwconv2, drop_path = layers.values()
    if type(grn) is GRN:
        plain_grn = grn.eps == EPS and block.gamma is None
    else:
        plain_grn = type(grn) is nn.Identity
    return (
        plain_grn
        and type(drop_path) is DropPath
        and type(dwconv) is nn.Conv2d
        and dwconv.kernel_size == (7, 7)
        and dwconv.stride == (1, 1)
        and dwconv.padding == (3, 3)
        and dwconv.dilation == (1, 1)
        and dwconv.padding_mode == 'zeros'
        and dwconv.in_channels == dwconv.out_channels == dwconv.groups
        and type(norm) is nn.LayerNorm
        and norm.normalized_shape == (dwconv.groups,)
        and norm.eps == EPS
        and norm.weight is not None
        and type(pwconv1) is nn.Linear
        and type(pwconv2) is nn.Linear
        and pwconv1.weight.shape == pwconv2.weight.shape[::-1] == (4 * dwconv.groups, dwconv.groups)
        and all(layer.bias is not None for layer in (dwconv, norm, pwconv1, pwconv2))
    )


def is_untouched(module: nn.Module) -> bool:
    """Whether nothing is attached to a module's call: no hook, and no ``forward`` but its class's."""
    attributes = module.__dict__
    return 'forward' not in attributes and not any(attributes[hooks] for hooks in HOOKS)
