"""A whole block through the Triton kernels, as :func:`mmconvnext.kernels.cpu.block` is through the CPU's."""

import torch
from torch import Tensor

from mmconvnext.kernels.tensors import BlockTensors
from mmconvnext.kernels.triton import ops


def block(x: Tensor, tensors: BlockTensors, sample_scales: Tensor | None = None, memory: str = 'balanced') -> Tensor:
    """Output (B, C, H, W) of a block in the dtype of ``x``, channels-last and differentiable once.

    Under autocast the products are in its dtype. Sums, statistics and vectors are float32 in any case.

    Args:
        x: (B, C, H, W).
        tensors: The block's.
        sample_scales: Stochastic depth's factor of each sample's branch, (B,).
        memory: What training keeps of a block, in numbers a pixel: ``speed`` 6C, its input, what the depthwise
            convolution gives and what goes into GELU; ``balanced`` 2C, without the last; ``min`` only its input. The
            rest is computed again on the way back.
    """
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    if not torch.is_grad_enabled():
        memory = 'min'
    pixels = x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    out, *_ = ops.block(pixels, *tensors, sample_scales, dtype, memory)
    return out.permute(0, 3, 1, 2)
