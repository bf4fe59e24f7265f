"""The tensors of a block, by the names of the papers."""

from typing import Any, NamedTuple

from torch import Tensor

EPS = 1e-6  # of LayerNorm and GRN in the kernels; a block with another one is computed layer by layer


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


# As a custom operator declares them
SCHEMA = ', '.join(
    f'Tensor{"" if kind is Tensor else "?"} {name}' for name, kind in BlockTensors.__annotations__.items()
)
