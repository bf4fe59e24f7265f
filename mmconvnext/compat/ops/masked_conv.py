"""Gather and scatter around a convolution at some pixels, called as ``mmcv/ops/masked_conv.py`` calls them.

Guided anchoring takes it in inference, at the pixels where anchors are likely. mmcv gives it no gradient.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Write the window of each chosen pixel of the output into a column.

    Args:
        im: (1, c, h, w), of any dtype.
        mask_h_idx: (k,) int64, the rows of the chosen pixels in the output of the convolution.
        mask_w_idx: (k,) int64, their columns.
        col: (c * kernel_h * kernel_w, k), overwritten; beyond the image there is 0.
        kernel_h: Height of the window.
        kernel_w: Width of the window.
        pad_h: Rows of zeros above and below the image.
        pad_w: Columns of zeros to its left and right.
    """
    # The mask is as large as the image. Where the output is smaller its last windows hang over: they see 0, too.
    over_h, over_w = max(pad_h, kernel_h - 1 - pad_h), max(pad_w, kernel_w - 1 - pad_w)
    padded = F.pad(im[0], (pad_w, over_w, pad_h, over_h))
    rows = mask_h_idx + torch.arange(kernel_h, device=im.device)[:, None, None]  # (kernel_h, 1, k)
    columns = mask_w_idx + torch.arange(kernel_w, device=im.device)[:, None]  # (kernel_w, k)
    col.copy_(padded[:, rows, columns].flatten(0, 2))


def masked_col2im_forward(
    col: Tensor, mask_h_idx: Tensor, mask_w_idx: Tensor, im: Tensor, height: int, width: int, channels: int
) -> None:
    """Write a column for each chosen pixel back to its place.

    Args:
        col: (channels, k).
        mask_h_idx: (k,) int64, the rows of the chosen pixels.
        mask_w_idx: (k,) int64, their columns.
        im: (1, channels, height, width); the other pixels stay as they are, 0 as mmcv gives it.
        height: Rows of ``im``.
        width: Columns of ``im``.
        channels: Channels of ``im``.

    Raises:
        IndexError: If a pixel is not in ``im``; the compiled operator writes it elsewhere.
    """
    im[0][:, mask_h_idx, mask_w_idx] = col.to(im.dtype)
