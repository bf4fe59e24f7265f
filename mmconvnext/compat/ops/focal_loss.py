"""Focal losses, called as ``mmcv/ops/focal_loss.py`` calls the compiled ones; MMDetection takes sigmoid's on GPUs."""

import torch
import torch.nn.functional as F
from torch import Tensor


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Compute the loss of each class of each box (Lin et al., ICCV 2017, equation 5).

    Args:
        input: (n, c) logits, of any floating dtype.
        target: (n,) int64 classes; c is the background.
        weight: (c,), or (0,) for none. That of a box's own class multiplies the loss of all classes of the box, as in
            mmcv. The background has none and counts 1; the compiled operator reads a number behind the last.
        output: (n, c), overwritten.
        gamma: How much easy boxes count less.
        alpha: Weight of the positives; that of the negatives is 1 - alpha.
    """
    right, _, scale = _right_answers(input, target, weight, alpha)
    # p_t is the sigmoid of right; 1 - p_t would be 0 too soon
    output.copy_(-scale * (-right).sigmoid() ** gamma * F.logsigmoid(right))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the gradient of the summed loss into ``grad_input``, (n, c).

    What else it takes is as in :func:`sigmoid_focal_loss_forward`.
    """
    right, positive, scale = _right_answers(input, target, weight, alpha)
    wrong = (-right).sigmoid()
    # By hand: autograd's has 0 * infinity for a gamma below 1 where wrong is 0
    slope = scale * wrong**gamma * (gamma * right.sigmoid() * F.logsigmoid(right) - wrong)
    grad_input.copy_(torch.where(positive, slope, -slope))


def _right_answers(input: Tensor, target: Tensor, weight: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logits of the right answers, where these are yes, and alpha_t with the class's weight, each (n, c)."""
    logits = input.to(torch.promote_types(input.dtype, torch.float32))
    positive = target[:, None] == torch.arange(input.shape[1], device=target.device)  # the background has none
    scale = torch.full_like(logits, 1 - alpha).masked_fill_(positive, alpha)
    if weight.numel():
        has_class = (target >= 0) & (target < len(weight))
        of_box = weight.to(logits.dtype)[target.where(has_class, 0)].masked_fill(~has_class, 1)
        scale *= of_box[:, None]
    return torch.where(positive, logits, -logits), positive, scale


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Compute the loss of each box.

    Args:
        input: (n, c) probabilities, which mmcv has passed through a softmax, of any floating dtype.
        target: (n,) int64 classes; a box with a negative one is ignored.
        weight: (c,), or (0,) for none. That of a box's class multiplies its loss.
        output: (n,), overwritten.
        gamma: How much easy boxes count less.
        alpha: Weight of all boxes.

    Raises:
        ValueError: If a target is c or more. There is no background but among the classes.
    """
    right, scale, _ = _right_classes(input, target, weight, alpha)
    output.copy_(-scale * (1 - right) ** gamma * _log(right))


def softmax_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the gradient of the summed loss by the logits before the softmax into ``grad_input``, (n, c).

    ``buff``, (n,), is overwritten with the gradient by the logarithm of the right class's probability. What else it
    takes and raises is as in :func:`softmax_focal_loss_forward`.
    """
    right, scale, classes = _right_classes(input, target, weight, alpha)
    wrong = 1 - right
    # Where wrong is 0 the power is infinite for a gamma below 1, but its product with the logarithm goes to 0
    power = (wrong ** (gamma - 1)).masked_fill(wrong == 0, 0)
    slope = scale * (gamma * power * right * _log(right) - wrong**gamma)
    buff.copy_(slope)
    one_hot = torch.arange(input.shape[1], device=input.device) == classes[:, None]
    grad_input.copy_(slope[:, None] * (one_hot.to(slope.dtype) - input))


def _right_classes(input: Tensor, target: Tensor, weight: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the right classes' probabilities, alpha with their weights or 0, and the classes, each (n,)."""
    if (target >= input.shape[1]).any():
        raise ValueError(f'Focal loss with a softmax over {input.shape[1]} classes got class {target.max()}.')
    ignored = target < 0
    classes = target.masked_fill(ignored, 0)
    right = input.gather(1, classes[:, None])[:, 0].to(torch.promote_types(input.dtype, torch.float32))
    scale = torch.full_like(right, alpha)
    if weight.numel():
        scale = scale * weight[classes]
    return right, scale.masked_fill(ignored, 0), classes


def _log(probability: Tensor) -> Tensor:
    return probability.clamp(min=torch.finfo(torch.float32).tiny).log()  # the least that mmcv takes
