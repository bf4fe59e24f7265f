"""DINO as in its paper, whichever MMDetection is installed.

Source: DINO, arXiv 2203.03605. mmdet 3.3.0 has the network of the paper. onedl-mmdetection 3.5.1 encodes each
coordinate with twice as many features, so that ``decoder.ref_point_head`` has another shape and no published file fits.
"""

from typing import Any

import torch
from mmdet.models import DINO
from mmdet.models.layers import DinoTransformerDecoder
from mmdet.models.layers.transformer.utils import MLP, coordinate_to_encoding, inverse_sigmoid
from mmengine.registry import MODELS
from torch import Tensor, nn

INVERSE_SIGMOID_EPS = 1e-3  # boxes keep this distance from the image's border where the sigmoid is undone


class PaperDINODecoder(DinoTransformerDecoder):
    """MMDetection's decoder, with C / 2 features for each of a box's four coordinates: 128 where C is 256.

    Arguments are those of MMDetection's ``DinoTransformerDecoder``.
    """

    def _init_layers(self) -> None:
        super()._init_layers()
        self.ref_point_head = MLP(2 * self.embed_dims, self.embed_dims, self.embed_dims, 2)

    def forward(
        self,
        query: Tensor,
        *,
        reference_points: Tensor,
        valid_ratios: Tensor,
        reg_branches: nn.ModuleList,
        **attention: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Refines queries and boxes, layer by layer.

        Args:
            query: (B, Q, C).
            reference_points: Boxes to start from, (B, Q, 4): centre x and y, width, height, as parts of the image.
            valid_ratios: How much of each level's width and height is image and not padding, (B, levels, 2).
            reg_branches: One for each layer, from (B, Q, C) to the change of its boxes, (B, Q, 4), before the sigmoid.
            **attention: What each layer's attention takes beside: the images' features and masks.

        Returns:
            The queries after each layer, (layers, B, Q, C), and the boxes before the first and after each layer,
            (1 + layers, B, Q, 4). Of the last layer alone, if the config has no ``return_intermediate``.
        """
        outputs, boxes = [], [reference_points]
        ratios = valid_ratios.repeat(1, 1, 2)[:, None]  # (B, 1, levels, 4)
        for layer, reg_branch in zip(self.layers, reg_branches):
            on_levels = reference_points[:, :, None] * ratios  # (B, Q, levels, 4)
            encoding = coordinate_to_encoding(on_levels[:, :, 0], num_feats=self.embed_dims // 2)  # (B, Q, 2C)
            query = layer(
                query,
                query_pos=self.ref_point_head(encoding),
                reference_points=on_levels,
                valid_ratios=valid_ratios,
                **attention,
            )
            refined = reg_branch(query) + inverse_sigmoid(reference_points, eps=INVERSE_SIGMOID_EPS)
            boxes.append(refined.sigmoid())  # its loss also reaches the layer before: the paper's "look forward twice"
            reference_points = boxes[-1].detach()
            outputs.append(self.norm(query))
        if self.return_intermediate:
            return torch.stack(outputs), torch.stack(boxes)
        return query, reference_points


@MODELS.register_module()
class PaperDINO(DINO):
    """MMDetection's DINO, with the decoder of the paper.

    Parameters have the names and shapes of mmdet 3.3.0's, with both lines of MMDetection. Arguments are those of
    MMDetection's ``DINO``.
    """

    decoder: Any  # MMDetection's layers take the place of their configs

    def _init_layers(self) -> None:
        decoder = self.decoder
        super()._init_layers()
        self.decoder = PaperDINODecoder(**decoder)
