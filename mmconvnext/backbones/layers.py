"""The layers of ConvNeXt that PyTorch does not have."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of each pixel of (B, C, H, W).

    Statistics are in float32 for any dtype of the input, so half precision does not overflow. A channels-last input is
    not copied, and the output is channels-last.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes (B, C, H, W)."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class GRN(nn.Module):
    """Global response normalization of (B, H, W, C): channels compete by their L2 norm over the whole map.

    Source: ConvNeXt V2, arXiv 2301.00808, section 3.

    Args:
        channels: C.
        eps: Added to the mean of the norms.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes (B, H, W, C)."""
        gx = _global_norm(x)  # (B, 1, 1, C)
        nx = gx / (gx.mean(-1, keepdim=True) + self.eps)
        # The paper's gamma * (x * nx) + beta + x, without its overflow in half precision
        return torch.addcmul(self.beta.to(x.dtype), x, (1 + self.gamma * nx).to(x.dtype))


@torch.fx.wrap  # torch.fx of PyTorch 2.6 cannot trace a computed dtype
def _global_norm(x: Tensor) -> Tensor:
    # The sum of squares over a map overflows float16, so it is in float32, or float64
    dtype = torch.promote_types(x.dtype, torch.float32)
    return torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True, dtype=dtype)


class DropPath(nn.Module):
    """Stochastic depth: in training, sets the residual branch of some samples to 0 and scales up the others.

    Source: Deep Networks with Stochastic Depth, arXiv 1603.09382, for each sample by itself, as the authors train.

    Args:
        rate: Probability of dropping a sample, at least 0 and less than 1.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def sample_scales(self, x: Tensor) -> Tensor | None:
        """Draws the factor of each sample's branch, (B,): 0 or 1 / (1 - rate). Returns None outside training."""
        if self.rate == 0 or not self.training:
            return None
        keep = 1 - self.rate
        return x.new_empty(len(x)).bernoulli_(keep).div_(keep)

    def forward(self, x: Tensor) -> Tensor:
        """Multiplies each sample of (B, C, H, W) by its factor, in training only."""
        scales = self.sample_scales(x)
        return x if scales is None else x * scales.view(-1, 1, 1, 1)

    def extra_repr(self) -> str:
        """Shows the rate when the module is printed."""
        return f'rate={self.rate:.3f}'
