"""The whole ConvNeXt of the papers, which classifies images: the stages, global average pooling, a norm and a head."""

from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmconvnext.backbones import arguments
from mmconvnext.backbones.convnext import EPS, ConvNeXt
from mmconvnext.errors import UserError


@MODELS.register_module()
class ConvNeXtClassifier(ConvNeXt):
    """ConvNeXt V1 or V2 with the authors' classifier, under the authors' names, so their files fit as they are.

    Sources: A ConvNet for the 2020s, arXiv 2201.03545 (models/convnext.py of the authors' code); ConvNeXt V2,
    arXiv 2301.00808 (models/convnextv2.py).

    Args:
        num_classes: Number of classes.
        head_init_scale: What the initial weights of the head, of standard deviation 0.02, are multiplied by. The
            authors fine-tune with 0.001. A head that a checkpoint brings, with as many classes, is loaded as it is.
        settings: Those of :class:`~mmconvnext.backbones.convnext.ConvNeXt`, without ``out_indices``: the last stage is
            what is classified.

    Raises:
        UserError: If an argument is unknown or out of range; the message lists what is allowed.

    Shapes:
        Input (B, in_channels, H, W), H and W at least 32. Output: logits (B, num_classes).
    """

    def __init__(self, num_classes: int = 1000, head_init_scale: float = 1.0, **settings: Any) -> None:
        if 'out_indices' in settings:
            raise UserError(
                'ConvNeXtClassifier has no out_indices: it classifies by the last stage. Leave them out.',
                argument='out_indices',
            )
        super().__init__(out_indices=(3,), **settings)
        self.num_classes = arguments.checked('num_classes', num_classes, [int], lambda n: n > 0, 'a positive integer')
        scale = arguments.checked(
            'head_init_scale', head_init_scale, (int, float), lambda s: s > 0, 'a positive number'
        )
        width = self.arch.widths[-1]
        del self.norm3  # of a map; here the pooled vector is normalized
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.head = nn.Linear(width, num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02 * scale)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # logits, not maps
        """Returns the logits of each image, (B, num_classes).

        Raises:
            UserError: If ``x`` is not (B, in_channels, H, W), or smaller than 32 pixels.
        """
        arguments.check_input(x, self.in_channels, len(self.stages) - 1)
        x = x.contiguous(memory_format=torch.channels_last)
        for downsample, stage in zip(self.downsample_layers, self.stages):
            x = stage(downsample(x))
        return self.head(self.norm(x.mean((2, 3))))  # (B, C, H, W) -> (B, C) -> (B, num_classes)
