"""The tensors of a block, by the names of the papers."""

from typing import Any, NamedTuple

from torch import Tensor, nn

# What a block consists of where a kernel may take its place; a subclass may compute something else
PLAIN = {'dwconv': nn.Conv2d, 'norm': nn.LayerNorm, 'pwconv1': nn.Linear, 'pwconv2': nn.Linear}


class BlockTensors(NamedTuple):
    """Parameters of a block of C channels; what V1 or V2 lacks is None."""

    dw_weight: Tensor  # (C, 1, 7, 7)
    dw_bias: Tensor  # (C,)
    norm_weight: Tensor  # (C,)
    norm_bias: Tensor  # (C,)
    w1: Tensor  # (4C, C)
    b1: Tensor  # (4C,)
    w2: Tensor  # (C, 4C)
    b2: Tensor  # (C,)
    layer_scale: Tensor | None  # (C,)
    grn_gamma: Tensor | None  # (4C,)
    grn_beta: Tensor | None  # (4C,)

    @classmethod
    def of(cls, block: Any) -> 'BlockTensors':
        """Takes them from a block of :mod:`mmconvnext.backbones.convnext`."""
        return cls(
            block.dwconv.weight,
            block.dwconv.bias,
            block.norm.weight,
            block.norm.bias,
            block.pwconv1.weight,
            block.pwconv1.bias,
            block.pwconv2.weight,
            block.pwconv2.bias,
            block.gamma,
            getattr(block.grn, 'gamma', None),
            getattr(block.grn, 'beta', None),
        )


def is_plain(block: Any) -> bool:
    """Whether a block is as it was built: no layer replaced, parametrized or hooked, which a kernel would pass by."""
    if nn.modules.module._has_any_global_hook():
        return False
    children = block._modules
    for name, kind in PLAIN.items():
        if type(children[name]) is not kind:
            return False
    return not any(
        child._forward_hooks or child._forward_pre_hooks or child._backward_hooks or child._backward_pre_hooks
        for child in children.values()
    )
