"""Batch normalization over all processes, called as ``mmcv/ops/sync_bn.py`` calls the compiled operators.

Each works on what one process has; mmcv itself adds up over the processes between the calls. Statistics are in single
precision at least, whatever the input is.
"""

import torch
from torch import Tensor


def sync_bn_forward_mean(input: Tensor, mean: Tensor) -> None:
    """Write the mean of each channel of ``input``, (n, c, pixels), into ``mean``, (c,)."""
    mean.copy_(_single(input).mean((0, 2)))


def sync_bn_forward_var(input: Tensor, mean: Tensor, var: Tensor) -> None:
    """Write the mean squared distance from ``mean``, that of all processes, into ``var``; shapes as above."""
    var.copy_((_single(input) - mean[:, None]).square().mean((0, 2)))


def sync_bn_forward_output(
    input: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    norm: Tensor,
    std: Tensor,
    output: Tensor,
    eps: float,
    momentum: float | Tensor,
    group_size: int,
) -> None:
    """Normalize each channel and update what inference will use (Ioffe and Szegedy, ICML 2015, algorithm 1).

    Args:
        input: (n, c, pixels), of any floating dtype; n may be 0.
        mean: (c,) over all processes.
        var: (c,) over all processes, divided by the count.
        weight: (c,) or None, 1.
        bias: (c,) or None, 0; it is there if ``weight`` is.
        running_mean: (c,), updated in place, or None.
        running_var: (c,), updated in place with the unbiased variance, or None.
        norm: (n, c, pixels), overwritten with the normalized input, for the backward pass.
        std: (c,), overwritten, for the backward pass.
        output: (n, c, pixels), overwritten.
        eps: Added to the variance.
        momentum: The share of this batch in the running statistics, a number or a tensor of one.
        group_size: Processes. The count for the unbiased variance takes each to have as many images as this one.
    """
    std.copy_((var + eps).sqrt())
    norm.copy_((_single(input) - mean[:, None]) / std[:, None])
    if weight is not None and bias is not None:
        output.copy_(norm * weight[:, None] + bias[:, None])
    else:
        output.copy_(norm)
    if running_mean is not None and running_var is not None:
        count = input.shape[0] * input.shape[2] * group_size
        unbiased = var * count / (count - 1) if count > 1 else var
        running_mean.copy_(momentum * mean + (1 - momentum) * running_mean)
        running_var.copy_(momentum * unbiased + (1 - momentum) * running_var)


def sync_bn_backward_param(grad_output: Tensor, norm: Tensor, grad_weight: Tensor, grad_bias: Tensor) -> None:
    """Sum the gradients of weight and bias over ``grad_output`` and ``norm``, (n, c, pixels), into two of (c,)."""
    grad = _single(grad_output)
    grad_weight.copy_((grad * norm).sum((0, 2)))
    grad_bias.copy_(grad.sum((0, 2)))


def sync_bn_backward_data(
    grad_output: Tensor,
    weight: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    norm: Tensor,
    std: Tensor,
    grad_input: Tensor,
) -> None:
    """Write the gradient of the input into ``grad_input``, (n, c, pixels).

    ``grad_weight`` and ``grad_bias`` are the mean of all processes' sums, so they are divided by this one's count;
    the rest is as :func:`sync_bn_forward_output` left it.
    """
    count = grad_output.shape[0] * grad_output.shape[2]
    common = (grad_weight[:, None] * norm + grad_bias[:, None]) / count
    grad_input.copy_((_single(grad_output) - common) * (weight / std)[:, None])


def _single(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
