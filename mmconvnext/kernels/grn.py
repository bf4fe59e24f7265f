"""Global response normalization of one sample, its maps given in chunks of pixels.

GRN scales each channel of a sample by a number of its own and adds another. Both go into the linear layer behind it,
so the normalized maps are never made.
"""

import torch
from torch import Tensor

EPS = 1e-6


class Response:
    """What GRN does to the 4C channels of one sample.

    Args:
        gamma: GRN's scale, (4C,).
        chunks: The activations, each (pixels, 4C).
    """

    def __init__(self, gamma: Tensor, chunks: list[Tensor]) -> None:
        self.gamma = gamma
        # Norm of norms: squares of large activations need not be summed in one go
        norms = torch.stack([torch.linalg.vector_norm(chunk, dim=0) for chunk in chunks])
        self.energy = torch.linalg.vector_norm(norms, dim=0)
        self.mean = self.energy.mean() + EPS
        self.share = self.energy / self.mean

    def scale(self) -> Tensor:
        """Factor of each channel, (4C,)."""
        return 1 + self.gamma * self.share

    def backward(self, grad_scale: Tensor) -> tuple[Tensor, Tensor]:
        """Carries the gradient of :meth:`scale` back.

        Returns:
            The gradient of gamma, and what each activation is to be multiplied with for its gradient, each (4C,).
        """
        grad_share = grad_scale * self.gamma
        grad_energy = (grad_share - (grad_share * self.share).mean()) / self.mean
        # The energy's gradient is activation / energy; a channel that is 0 everywhere has none
        return grad_scale * self.share, torch.where(self.energy > 0, grad_energy / self.energy, 0)
