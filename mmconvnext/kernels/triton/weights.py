"""The tensors of a block in the form that the kernels take."""

from typing import NamedTuple

import torch
from torch import Tensor

from mmconvnext.kernels.tensors import BlockTensors


class MLP(NamedTuple):
    """What follows the depthwise convolution, for LayerNorm without an affine of its own.

    Matrices are in the dtype of the products, all else is float32; each in contiguous memory, as the kernels read it.
    """

    w1: Tensor  # (4C, C), with LayerNorm's weight in it
    b1: Tensor  # (4C,), with LayerNorm's bias in it
    w2: Tensor  # (C, 4C); where V2's response is in it, (N, C, 4C)
    b2: Tensor  # (C,), with GRN's bias in it
    layer_scale: Tensor | None  # (C,)
    sample_scales: Tensor | None  # (N,)

    @classmethod
    def of(cls, t: BlockTensors, sample_scales: Tensor | None, dtype: torch.dtype) -> 'MLP':
        """Folds constants in float32 and rounds once.

        Layer scale stays outside: times 1e-6, a float16 matrix would vanish.
        """
        w1, w2, b2 = t.w1.float(), t.w2.float(), vector(t.b2)
        return cls(
            (w1 * t.norm_weight.float()).to(dtype).contiguous(),
            torch.addmv(t.b1.float(), w1, t.norm_bias.float()),
            w2.to(dtype).contiguous(),
            b2 if t.grn_beta is None else torch.addmv(b2, w2, t.grn_beta.float()),
            None if t.layer_scale is None else vector(t.layer_scale),
            None if sample_scales is None else vector(sample_scales),
        )

    def with_response(self, response: Tensor) -> 'MLP':
        """The same with V2's response (N, 4C), float32, in the second matrix."""
        return self._replace(w2=(self.w2 * response[:, None]).to(self.w2.dtype))


def taps(t: BlockTensors) -> tuple[Tensor, Tensor]:
    """The depthwise convolution's taps (49, C) and bias (C,), float32."""
    return t.dw_weight.reshape(-1, 49).t().float().contiguous(), vector(t.dw_bias)


def vector(tensor: Tensor) -> Tensor:
    """The same numbers in float32, next to each other."""
    return tensor.float().contiguous()
