"""Deformable convolution by its definition, a sample at a time in double precision, and cases to try it on."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Case(NamedTuple):
    input: Tensor
    weight: Tensor
    offset: Tensor
    mask: Tensor
    bias: Tensor
    grad_output: Tensor
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    deform_groups: int


def random_case(seed: int) -> Case:
    rng = np.random.default_rng(seed)

    def pair(low: int, high: int) -> tuple[int, int]:
        return int(rng.integers(low, high)), int(rng.integers(low, high))

    groups, deform_groups = pair(1, 4)
    channels, outputs = math.lcm(groups, deform_groups) * int(rng.integers(1, 3)), groups * int(rng.integers(1, 4))
    kernel, stride, padding, dilation = pair(1, 4), pair(1, 4), pair(0, 3), pair(1, 4)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
    size = [max(r - 2 * p, k) + int(rng.integers(0, 6)) for r, p, k in zip(reach, padding, kernel)]
    out = [(n + 2 * p - r) // s + 1 for n, p, r, s in zip(size, padding, reach, stride)]
    batch, taps = int(rng.integers(1, 4)), kernel[0] * kernel[1]
    offset = rng.normal(scale=1.5, size=(batch, deform_groups * taps * 2, *out))
    # Offsets start at 0 in training: samples on pixels, and exactly one pixel outside
    offset = np.where(rng.random(offset.shape) < 0.3, offset.round(), offset)
    arrays = [
        rng.normal(size=(batch, channels, *size)),
        rng.normal(size=(outputs, channels // groups, *kernel)),
        offset,
        rng.random((batch, deform_groups * taps, *out)),
        rng.normal(size=outputs),
        rng.normal(size=(batch, outputs, *out)),
    ]
    return Case(*map(torch.from_numpy, arrays), stride, padding, dilation, groups, deform_groups)


def definition(case: Case) -> tuple[Tensor, dict[str, Tensor]]:
    """The output, and the gradients of (output * grad_output).sum(): by hand, so that kinks have mmcv's derivative."""
    x, weight, offset, mask, bias, grad_output = (tensor.double().numpy() for tensor in case[:6])
    batch, channels, height, width = x.shape
    outputs, _, kernel_h, kernel_w = weight.shape
    out_h, out_w = offset.shape[2:]
    taps = kernel_h * kernel_w
    part = channels // case.deform_groups

    # The convolution first, on columns of samples times mask: each group multiplies its own channels
    inputs = channels // case.groups
    firsts = [o // (outputs // case.groups) * inputs for o in range(outputs)]
    kernels = np.zeros((outputs, channels, taps))
    for o, first in enumerate(firsts):
        kernels[o, first : first + inputs] = weight[o].reshape(-1, taps)
    columns = np.zeros((batch, channels, taps, out_h, out_w))
    grad_columns = np.einsum('ock,boij->bckij', kernels, grad_output)

    grads = {name: np.zeros_like(array) for name, array in [('input', x), ('offset', offset), ('mask', mask)]}
    for b, g, k, i, j in np.ndindex(batch, case.deform_groups, taps, out_h, out_w):
        at, own = (b, g * taps + k, i, j), slice(g * part, (g + 1) * part)
        dy, dx = offset[b, 2 * at[1] : 2 * at[1] + 2, i, j]
        y = i * case.stride[0] - case.padding[0] + k // kernel_w * case.dilation[0] + dy
        x_ = j * case.stride[1] - case.padding[1] + k % kernel_w * case.dilation[1] + dx
        if not (-1 < y < height and -1 < x_ < width):
            continue
        grad = grad_columns[b, own, k, i, j]
        sample = np.zeros(part)
        for row, row_sign in ((math.floor(y), -1), (math.floor(y) + 1, 1)):
            for column, column_sign in ((math.floor(x_), -1), (math.floor(x_) + 1, 1)):
                if 0 <= row < height and 0 <= column < width:
                    down, across = 1 - abs(y - row), 1 - abs(x_ - column)
                    pixel = x[b, own, row, column]
                    sample += down * across * pixel
                    grads['input'][b, own, row, column] += down * across * mask[at] * grad
                    grads['offset'][b, 2 * at[1], i, j] += row_sign * across * mask[at] * (pixel @ grad)
                    grads['offset'][b, 2 * at[1] + 1, i, j] += column_sign * down * mask[at] * (pixel @ grad)
        grads['mask'][at] = sample @ grad
        columns[b, own, k, i, j] = mask[at] * sample

    output = np.einsum('ock,bckij->boij', kernels, columns) + bias[:, None, None]
    grads['bias'] = grad_output.sum((0, 2, 3))
    grad_kernels = np.einsum('boij,bckij->ock', grad_output, columns)
    grads['weight'] = np.zeros_like(weight)
    for o, first in enumerate(firsts):
        grads['weight'][o] = grad_kernels[o, first : first + inputs].reshape(-1, kernel_h, kernel_w)
    return torch.from_numpy(output), {name: torch.from_numpy(grad) for name, grad in grads.items()}
