"""A ConvNeXt that computes only the visible cells of an image."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmconvnext.backbones.convnext import Block, ConvNeXt
from mmconvnext.pretraining.visible_cells import VisibleCells


class MaskedConvNeXt(ConvNeXt):
    """The backbone, run on visible cells as if the others did not exist (arXiv 2301.00808, section 3).

    The authors compute this with sparse convolutions. No sparse library is needed: cells are aligned to the strides of
    all stages, so the stem and the downsampling layers never mix two cells, and LayerNorm and the linear layers work
    on single pixels. All of them run only on the visible cells. Two layers mix cells. The depthwise convolution runs on
    a map that is 0 at masked cells, as in a submanifold sparse convolution. GRN's norm is over the visible pixels of
    each image, as in the authors' JAX code. (Their PyTorch code takes it over all images of a GPU.)

    Args:
        arguments: The arguments of :class:`~mmconvnext.backbones.convnext.ConvNeXt`, without ``out_indices``: the only
            output is the last stage, without a norm.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(out_indices=(3,), **arguments)
        del self.norm3

    def forward(self, images: Tensor, visible: VisibleCells) -> Tensor:  # type: ignore[override]  # one map, not a tuple
        """Computes the last stage at the visible cells.

        Args:
            images: (B, in_channels, 32 * rows, 32 * columns).
            visible: The visible cells.

        Returns:
            (B, C, rows, columns), which is 0 at masked cells.
        """
        x = visible.take(images)  # (B, K, 32, 32, in_channels)
        for downsample, stage in zip(self.downsample_layers, self.stages):
            x = _on_each_cell(downsample, x)
            for block in stage.children():
                if self.with_cp and torch.is_grad_enabled():
                    x = checkpoint(_on_visible_pixels, block, x, visible, use_reentrant=False)
                else:
                    x = _on_visible_pixels(block, x, visible)  # type: ignore[arg-type]  # a stage has blocks
        return visible.put(x)


def _on_each_cell(layers: nn.Module, x: Tensor) -> Tensor:
    """Runs layers that never mix two cells: (B, K, s, s, C) -> (B, K, s', s', C')."""
    cells = layers(x.flatten(0, 1).permute(0, 3, 1, 2))  # (B * K, C', s', s')
    return cells.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


def _on_visible_pixels(block: Block, x: Tensor, visible: VisibleCells) -> Tensor:
    """Runs a block, (B, K, s, s, C) -> (B, K, s, s, C)."""
    branch = visible.take(block.dwconv(visible.put(x)))
    # GRN takes the norm over the second and third axis: here all visible pixels of an image
    branch = block.pointwise(branch.flatten(1, 2))  # (B, K * s, s, C)
    return x + block.drop_path(branch).view_as(x)
