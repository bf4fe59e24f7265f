"""The parameters of a block, and the folding of constants into its linear layers."""

from typing import NamedTuple

import torch
from torch import Tensor

EPS = 1e-6  # of LayerNorm and GRN in every kernel


class BlockTensors(NamedTuple):
    """Parameters of a block of C channels. Layer scale is V1's, GRN is V2's; the other version has None there."""

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

    def to(self, dtype: torch.dtype) -> 'BlockTensors':
        """Returns the tensors in another dtype."""
        return BlockTensors(*(t if t is None else t.to(dtype) for t in self))  # type: ignore[arg-type]  # in order

    def norm_in_first_linear(self) -> tuple[Tensor, Tensor]:
        """Returns weight and bias of the first linear layer with LayerNorm's weight and bias folded in."""
        return self.w1 * self.norm_weight, torch.addmv(self.b1, self.w1, self.norm_bias)

    def grn_in_second_bias(self) -> Tensor:
        """Returns the bias of the second linear layer with GRN's bias folded in."""
        return self.b2 if self.grn_beta is None else torch.addmv(self.b2, self.w2, self.grn_beta)


# The parameters as a custom operator declares them
SCHEMA = ', '.join(
    f'Tensor{"" if kind is Tensor else "?"} {name}' for name, kind in BlockTensors.__annotations__.items()
)
