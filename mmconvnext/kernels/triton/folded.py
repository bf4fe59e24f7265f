"""The parameters of a block in the form that the Triton kernels take."""

from typing import NamedTuple

import torch
from torch import Tensor

from mmconvnext.kernels.tensors import BlockTensors


class FoldedMLP(NamedTuple):
    """What follows the depthwise convolution, with LayerNorm's weight and bias and GRN's bias folded in.

    Weights of the linear layers are in the dtype of the products, vectors are float32. All are contiguous.
    """

    w1: Tensor  # (4C, C)
    b1: Tensor  # (4C,)
    w2: Tensor  # (C, 4C); with GRN's factor folded in, (B, C, 4C)
    b2: Tensor  # (C,)
    layer_scale: Tensor | None  # (C,)
    sample_scales: Tensor | None  # (B,)

    @classmethod
    def of(cls, t: BlockTensors, sample_scales: Tensor | None, dtype: torch.dtype) -> 'FoldedMLP':
        """Folds float32 parameters, and rounds the weights once.

        Layer scale is not folded: times 1e-6, a float16 weight would underflow.
        """
        w1, b1 = t.norm_in_first_linear()
        return cls(
            w1.to(dtype).contiguous(),
            b1,
            t.w2.to(dtype).contiguous(),
            t.grn_in_second_bias().contiguous(),
            None if t.layer_scale is None else t.layer_scale.contiguous(),
            None if sample_scales is None else sample_scales.float().contiguous(),
        )

    def with_grn(self, factor: Tensor) -> 'FoldedMLP':
        """Folds GRN's factor, (B, 4C), float32, into the second linear layer's weight."""
        return self._replace(w2=(self.w2 * factor[:, None]).to(self.w2.dtype))


def taps(t: BlockTensors) -> tuple[Tensor, Tensor]:
    """Returns the depthwise convolution's weight as (49, C), and its bias (C,)."""
    return t.dw_weight.reshape(-1, 49).t().contiguous(), t.dw_bias.contiguous()
