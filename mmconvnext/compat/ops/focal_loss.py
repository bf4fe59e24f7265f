"""Focal losses, with the arguments of mmcv's compiled operators. MMDetection calls the sigmoid form on GPUs only."""

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
        weight: (c,), or (0,) for no weights. The weight of a box's class multiplies the loss of all classes of the box,
            as in mmcv. Background boxes have weight 1; the compiled operator reads past the end of the tensor there.
        output: (n, c), overwritten.
        gamma: How much easy boxes count less.
        alpha: Weight of the positives; that of the negatives is 1 - alpha.
    """
    right, _, scale = _right_answers(input, target, weight, alpha)
    # p_t is the sigmoid of `right`; sigmoid(-right) stays exact where 1 - p_t would round to 0
    output.copy_(-scale * (-right).sigmoid() ** gamma * F.logsigmoid(right))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the gradient of the summed loss into ``grad_input``, (n, c).

    The other arguments are those of :func:`sigmoid_focal_loss_forward`.
    """
    right, positive, scale = _right_answers(input, target, weight, alpha)
    wrong = (-right).sigmoid()
    # Not by autograd: for a gamma below 1 it computes 0 * infinity where `wrong` is 0
    slope = scale * wrong**gamma * (gamma * right.sigmoid() * F.logsigmoid(right) - wrong)
    grad_input.copy_(torch.where(positive, slope, -slope))


def _right_answers(input: Tensor, target: Tensor, weight: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return z with p_t = sigmoid(z), whether a class is the box's own, and alpha_t times its weight, each (n, c)."""
    logits = input.to(torch.promote_types(input.dtype, torch.float32))
    positive = target[:, None] == torch.arange(input.shape[1], device=target.device)  # background boxes: none
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
        weight: (c,), or (0,) for no weights. The weight of a box's class multiplies its loss.
        output: (n,), overwritten.
        gamma: How much easy boxes count less.
        alpha: Weight of all boxes.

    Raises:
        ValueError: If a target is c or more: background must be one of the c classes.
    """
    right, scale, _ = _right_classes(input, target, weight, alpha)
    output.copy_(-scale * (1 - right) ** gamma * _log(right))


def softmax_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the gradient of the summed loss by the logits before the softmax into ``grad_input``, (n, c).

    ``buff``, (n,), is overwritten with the gradient by the logarithm of the right class's probability. The other
    arguments and errors are those of :func:`softmax_focal_loss_forward`.
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
    """Return each box's class probability, alpha times the weight of its class (0 if ignored), and its class, (n,)."""
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
    return probability.clamp(min=torch.finfo(torch.float32).tiny).log()  # mmcv's smallest probability
