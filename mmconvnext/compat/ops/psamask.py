"""PSANet's attention over the whole image from one relative to each pixel, called as ``mmcv/ops/psa_mask.py`` calls it.

A pixel's mask has the pixel in its middle, so a slice of the mask lies on the image, and the rest hangs over the edges.
"""

from collections.abc import Iterator

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
        output: (n, h * w, h, w), all zeros as mmcv gives it. The pixel that has the mask is the last two dimensions
            if it collects, and the second if it distributes; the other pixel is the one that its weight is for.
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
    image = _pairs_of_pixels(output, psa_type, h_feature, w_feature)
    # Rows first, columns second: h + w copies, and not one for each pixel
    strips = input.new_zeros(num_, h_feature, w_mask, h_feature, w_feature)
    for y, of_mask, of_image in _overlaps(h_feature, h_mask, half_h_mask):
        strips[:, of_image, :, y] = masks[:, of_mask, :, y]
    for x, of_mask, of_image in _overlaps(w_feature, w_mask, half_w_mask):
        image[:, :, of_image, :, x] = strips[:, :, of_mask, :, x]


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
    """Move each weight's gradient from ``grad_output`` back to ``grad_input``, all zeros as mmcv gives it.

    The two have the shapes of the output and the input of :func:`psamask_forward`; all else is as there.
    """
    masks = grad_input.unflatten(1, (h_mask, w_mask))
    image = _pairs_of_pixels(grad_output, psa_type, h_feature, w_feature)
    strips = grad_input.new_zeros(num_, h_feature, w_mask, h_feature, w_feature)
    for x, of_mask, of_image in _overlaps(w_feature, w_mask, half_w_mask):
        strips[:, :, of_mask, :, x] = image[:, :, of_image, :, x]
    for y, of_mask, of_image in _overlaps(h_feature, h_mask, half_h_mask):
        masks[:, of_mask, :, y] = strips[:, of_image, :, y]


def _pairs_of_pixels(x: Tensor, psa_type: int, height: int, width: int) -> Tensor:
    """View (n, h * w, h, w) as (n, h, w, h, w) with the pixel that has the mask last."""
    pairs = x.unflatten(1, (height, width))
    return pairs if psa_type == COLLECT else pairs.permute(0, 3, 4, 1, 2)


def _overlaps(size: int, mask_size: int, middle: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield each position along one axis, and the slices of its mask and of the image that lie on each other."""
    for position in range(size):
        start, stop = max(position - middle, 0), min(position - middle + mask_size, size)
        yield position, slice(start - position + middle, stop - position + middle), slice(start, stop)
