"""PSANet's attention over the whole image from one relative to each pixel, called as ``mmcv/ops/psa_mask.py`` calls it.

A pixel's mask has the pixel in its middle, so a slice of the mask lies on the image, and the rest hangs over the edges.
"""

import torch
from torch import Tensor

COLLECT, DISTRIBUTE = 0, 1


def psamask_forward(
    input: Tensor,
    output: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    """Move each weight from its place in a pixel's mask to its place in the image (Zhao et al., ECCV 2018).

    Args:
        input: (n, h_mask * w_mask, h, w), each pixel's mask, of any dtype.
        output: (n, h * w, h, w), overwritten; what no mask covers is 0. The pixel that has the mask is the last two
            dimensions if it collects, and the second if it distributes; the other pixel is that of the weight.
        psa_type: 0 collects, 1 distributes.
        num_: n.
        h_feature: h.
        w_feature: w.
        h_mask: Rows of a mask.
        w_mask: Columns of a mask.
        half_h_mask: The row of a mask that lies on its pixel.
        half_w_mask: The column of a mask that lies on its pixel.
    """
    masks = input.unflatten(1, (h_mask, w_mask))
    rows, columns = (torch.arange(size, device=input.device) for size in (h_feature, w_feature))
    strips = _take(masks, 1, rows[:, None] - rows + half_h_mask)
    image = _take(strips, 2, columns[:, None] - columns + half_w_mask)
    _pairs_of_pixels(output, psa_type, h_feature, w_feature).copy_(image)


def psamask_backward(
    grad_output: Tensor,
    grad_input: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    """Move each weight's gradient from ``grad_output`` back to ``grad_input``, which is overwritten.

    The two have the shapes of the output and the input of :func:`psamask_forward`; all else is as there.
    """
    image = _pairs_of_pixels(grad_output, psa_type, h_feature, w_feature)
    rows, columns, mask_rows, mask_columns = (
        torch.arange(size, device=grad_output.device) for size in (h_feature, w_feature, h_mask, w_mask)
    )
    strips = _take(image, 2, mask_columns[:, None] + columns - half_w_mask)
    masks = _take(strips, 1, mask_rows[:, None] + rows - half_h_mask)
    grad_input.copy_(masks.flatten(1, 2))


def _pairs_of_pixels(x: Tensor, psa_type: int, height: int, width: int) -> Tensor:
    """View (n, h * w, h, w) as (n, h, w, h, w) with the pixel that has the mask last."""
    pairs = x.unflatten(1, (height, width))
    return pairs if psa_type == COLLECT else pairs.permute(0, 3, 4, 1, 2)


def _take(x: Tensor, axis: int, index: Tensor) -> Tensor:
    """Replace axis 1 or 2 of (n, rows, columns, h, w) by what ``index`` finds along it, 0 where that is outside.

    ``index`` is (new size, h) for axis 1 and (new size, w) for axis 2: it differs between the pixels.
    """
    sizes, alike = list(x.shape), [1] * x.ndim
    sizes[axis] = alike[axis] = len(index)
    alike[axis + 2] = sizes[axis + 2]
    index = index.view(alike)
    last = x.shape[axis] - 1
    found = x.gather(axis, index.clamp(0, last).expand(sizes))
    return found.masked_fill_((index < 0) | (index > last), 0)
