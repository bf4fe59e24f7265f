"""Sigmoid focal loss, called as ``mmcv/ops/focal_loss.py`` calls the compiled one, which MMDetection takes on GPUs."""

import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Compute the loss of each class of each box (Lin et al., ICCV 2017, equation 5).

    Args:
        input: (n, c) logits, of any floating dtype.
        target: (n,) int64 classes; c is the background.
        weight: Of each class; must be empty.
        output: (n, c), overwritten.
        gamma: How much easy boxes count less.
        alpha: Weight of the positives; that of the negatives is 1 - alpha.

    Raises:
        NotImplementedError: If ``weight`` is not empty.
    """
    output.copy_(_loss(input.float(), target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the gradient of the summed loss into ``grad_input``, (n, c).

    What else it takes and raises is as in :func:`sigmoid_focal_loss_forward`.
    """
    with torch.enable_grad():
        logits = input.detach().float().requires_grad_()
        (gradient,) = torch.autograd.grad(_loss(logits, target, weight, gamma, alpha).sum(), logits)
    grad_input.copy_(gradient)


def _loss(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    if weight.numel():
        raise NotImplementedError(
            'Focal loss with a weight for each class needs an mmcv with compiled operators. Leave its weight out.'
        )
    classes = torch.arange(logits.shape[1], device=target.device)
    one_hot = (target[:, None] == classes).to(logits.dtype)  # (n, c); the background has no class
    return sigmoid_focal_loss(logits, one_hot, alpha, gamma)
