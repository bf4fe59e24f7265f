"""Multi-scale deformable attention, called as ``mmcv/ops/multi_scale_deform_attn.py`` calls the compiled one on GPUs.

It is mmcv's own PyTorch path, which mmcv takes on the CPU only.
"""

import torch
from torch import Tensor


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Sum values sampled around each query (Deformable DETR, arXiv 2010.04159, equation 3).

    Args:
        value: (b, keys, heads, c).
        value_spatial_shapes: (levels, 2) int64, height and width of each level's keys.
        value_level_start_index: (levels,), where each level's keys start, unused.
        sampling_locations: (b, queries, heads, levels, points, 2), x and y, from 0 to 1 over a level.
        attention_weights: (b, queries, heads, levels, points).
        im2col_step: How the compiled one splits the batch, unused.

    Returns:
        (b, queries, heads * c).
    """
    # Not at the top: mmcv.ops imports this stand-in
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    shapes = value_spatial_shapes.tolist()
    return multi_scale_deformable_attn_pytorch(value, shapes, sampling_locations, attention_weights)


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Write the gradients of value, locations and weights into the three ``grad_`` tensors of their shapes.

    ``grad_output`` is (b, queries, heads * c). The forward pass is computed again, so nothing of it is stored.
    """
    with torch.enable_grad():
        inputs = [t.detach().requires_grad_() for t in (value, sampling_locations, attention_weights)]
        output = ms_deform_attn_forward(
            inputs[0], value_spatial_shapes, value_level_start_index, inputs[1], inputs[2], im2col_step
        )
        gradients = torch.autograd.grad(output, inputs, grad_output)
    for target, gradient in zip((grad_value, grad_sampling_loc, grad_attn_weight), gradients):
        target.copy_(gradient)
