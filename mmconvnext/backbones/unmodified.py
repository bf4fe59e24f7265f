"""Tells whether a block's layers are as built, so that a kernel may compute the block from its parameters alone."""

from typing import Any

from torch import nn

from mmconvnext.backbones.layers import GRN, DropPath
from mmconvnext.kernels.tensors import EPS, BlockTensors

LAYERS = ('dwconv', 'norm', 'pwconv1', 'grn', 'pwconv2', 'drop_path')
HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')


def tensors_if_unmodified(block: Any) -> BlockTensors | None:
    """Returns the parameters of a :class:`~mmconvnext.backbones.convnext.Block`, or None if a kernel would be wrong.

    It would be if a layer was replaced, parametrized, hooked, patched, or given another geometry.
    """
    layers = block._modules
    if tuple(layers) != LAYERS or nn.modules.module._has_any_global_hook() or any(map(is_hooked, layers.values())):
        return None
    gamma = block.gamma
    dwconv, norm, pwconv1, grn, pwconv2, drop_path = layers.values()
    as_built = (
        (type(grn) is nn.Identity or (type(grn) is GRN and grn.eps == EPS and gamma is None))
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
    if not as_built:
        return None
    linears = (pwconv1.weight, pwconv1.bias, pwconv2.weight, pwconv2.bias)
    of_grn = (None, None) if type(grn) is nn.Identity else (grn.gamma, grn.beta)
    return BlockTensors(dwconv.weight, dwconv.bias, norm.weight, norm.bias, *linears, gamma, *of_grn)


def is_hooked(module: nn.Module) -> bool:
    """Whether a call of the module does more than its class's ``forward``: it has a hook, or was patched."""
    attributes = module.__dict__
    return 'forward' in attributes or any(attributes[hooks] for hooks in HOOKS)
