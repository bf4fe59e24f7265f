"""GRN without the maps that it normalizes.

GRN multiplies each of a sample's 4C channels by one number and adds another. The kernels apply the first to the
activations and fold the second into the linear layer that follows, so the normalized map is never stored.
Source: ConvNeXt V2, arXiv 2301.00808, section 3. As in its code, gx are the L2 norms of a sample's channels, and nx are
these over their mean.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmconvnext.kernels.tensors import EPS


def global_norm(chunks: Sequence[Tensor]) -> Tensor:
    """Returns the L2 norm of each channel of one sample, (4C,), in float32 or float64.

    Args:
        chunks: The sample's activations, each (pixels, 4C).
    """
    # The norm of the chunks' norms: one sum of squares over all pixels would overflow earlier
    dtype = torch.promote_types(chunks[0].dtype, torch.float32)
    norms = torch.stack([torch.linalg.vector_norm(chunk, dim=0, dtype=dtype) for chunk in chunks])
    return torch.linalg.vector_norm(norms, dim=0)


class Response:
    """The factor ``1 + gamma * gx / mean(gx)`` by which GRN multiplies each channel of a sample.

    Args:
        gamma: GRN's weight, (4C,).
        gx: L2 norm of each channel's activations, (..., 4C).
    """

    def __init__(self, gamma: Tensor, gx: Tensor) -> None:
        self.gamma, self.gx = gamma, gx
        self.mean = gx.mean(-1, keepdim=True) + EPS
        self.nx = gx / self.mean  # 1 for a channel of average norm

    def factor(self) -> Tensor:
        """Returns the factor of each channel, (..., 4C)."""
        return 1 + self.gamma * self.nx

    def backward(self, grad_factor: Tensor) -> tuple[Tensor, Tensor]:
        """Backpropagates through :meth:`factor`.

        Args:
            grad_factor: Gradient of the factor, (..., 4C).

        Returns:
            The gradient of gamma; and the gradient of each activation through gx, divided by the activation. Both are
            (..., 4C).
        """
        grad_nx = grad_factor * self.gamma
        grad_gx = (grad_nx - (grad_nx * self.nx).mean(-1, keepdim=True)) / self.mean
        # d gx / d activation is activation / gx. A channel that is 0 everywhere has gradient 0
        return grad_factor * self.nx, torch.where(self.gx > 0, grad_gx / self.gx, 0)
