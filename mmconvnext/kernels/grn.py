"""Global response normalization, apart from the maps that it works on.

GRN scales each channel of a sample by a number of its own and adds another. Both go into the linear layer behind it,
so the normalized maps are never made.
"""

import torch
from torch import Tensor

from mmconvnext.kernels.tensors import EPS


def energy(chunks: list[Tensor]) -> Tensor:
    """Energy (4C,) of one sample's activations, given in chunks of (pixels, 4C), in float32 or better."""
    # Norm of norms: squares of large activations need not be summed in one go, and half precision could not hold them
    dtype = torch.promote_types(chunks[0].dtype, torch.float32)
    norms = torch.stack([torch.linalg.vector_norm(chunk, dim=0, dtype=dtype) for chunk in chunks])
    return torch.linalg.vector_norm(norms, dim=0)


class Response:
    """What GRN does to the 4C channels of each sample.

    Args:
        gamma: GRN's scale, (4C,).
        energy: Norm of each channel's activations, (..., 4C).
    """

    def __init__(self, gamma: Tensor, energy: Tensor) -> None:
        self.gamma, self.energy = gamma, energy
        self.mean = energy.mean(-1, keepdim=True) + EPS
        self.share = energy / self.mean

    def scale(self) -> Tensor:
        """Factor of each channel, (..., 4C)."""
        return 1 + self.gamma * self.share

    def backward(self, grad_scale: Tensor) -> tuple[Tensor, Tensor]:
        """Carries the gradient of :meth:`scale` back.

        Returns:
            The gradient of gamma, and what each activation is to be multiplied with for its gradient, each (..., 4C).
        """
        grad_share = grad_scale * self.gamma
        grad_energy = (grad_share - (grad_share * self.share).mean(-1, keepdim=True)) / self.mean
        # The energy's gradient is activation / energy; a channel that is 0 everywhere has none
        return grad_scale * self.share, torch.where(self.energy > 0, grad_energy / self.energy, 0)
