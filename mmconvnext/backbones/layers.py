"""The three layers that ConvNeXt needs beside PyTorch's own."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm2d(nn.LayerNorm):
    """Layer normalization over the channels of (B, C, H, W), each pixel by itself.

    Statistics are taken in float32 whatever the input's dtype, so half precision does not overflow. A channels-last
    input is normalized without a copy, and the output is channels-last.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes (B, C, H, W)."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class GRN(nn.Module):
    """Global response normalization: channels compete by their energy over the whole map.

    Input and output are channels-last, (B, H, W, C). Source: ConvNeXt V2, arXiv 2301.00808, section 3.

    Args:
        channels: C.
        eps: Added to the mean energy.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes (B, H, W, C)."""
        energy = _energy(x)  # (B, 1, 1, C)
        share = energy / (energy.mean(-1, keepdim=True) + self.eps)  # 1 is an average channel
        # gamma * (x * share) + beta + x, in an order that cannot overflow where the result does not
        scale = 1 + self.gamma * share
        return torch.addcmul(self.beta.to(x.dtype), x, scale.to(x.dtype))


@torch.fx.wrap  # torch.fx of PyTorch 2.6 cannot trace a computed dtype
def _energy(x: Tensor) -> Tensor:
    # A sum of squares over a map overflows float16, so it is at least float32
    dtype = torch.promote_types(x.dtype, torch.float32)
    return torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True, dtype=dtype)


class DropPath(nn.Module):
    """Stochastic depth: in training, drops a sample's whole residual branch and scales up the ones that stay.

    Source: Deep Networks with Stochastic Depth, arXiv 1603.09382, in the per-sample form that ConvNeXt trains with.

    Args:
        rate: Probability of dropping a sample, from 0 to less than 1.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def sample_scales(self, x: Tensor) -> Tensor | None:
        """Draws the factor of each sample's branch, (B,): 0 or 1 / (1 - rate). None outside training."""
        if self.rate == 0 or not self.training:
            return None
        keep = 1 - self.rate
        return x.new_empty(len(x)).bernoulli_(keep).div_(keep)

    def forward(self, x: Tensor) -> Tensor:
        """Drops samples of (B, C, H, W), in training only."""
        scales = self.sample_scales(x)
        return x if scales is None else x * scales.view(-1, 1, 1, 1)

    def extra_repr(self) -> str:
        """Shows the rate where the module is printed."""
        return f'rate={self.rate:.3f}'
