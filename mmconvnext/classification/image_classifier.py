"""An image classifier with the losses and the mixing of images that ConvNeXt is trained with."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmconvnext.backbones.arguments import checked
from mmconvnext.backbones.classifier import ConvNeXtClassifier
from mmconvnext.classification.imported_timm import check_arguments, import_timm
from mmconvnext.errors import UserError


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """Trains a classifier with timm's Mixup, CutMix and label smoothing, as arXiv 2201.03545 and 2301.00808 do.

    Args:
        backbone: Config of the :class:`~mmconvnext.backbones.classifier.ConvNeXtClassifier` to be trained.
        mixup: Arguments of timm's ``Mixup``, such as ``dict(mixup_alpha=0.8, cutmix_alpha=1.0)``; None mixes no images.
        label_smoothing: How much of each target is spread over all classes, from 0 to below 1.
        data_preprocessor: Config of what moves images to the device. The transforms have normalized them.
        init_cfg: MMEngine's initialization.

    Raises:
        UserError: If timm is not installed, or an argument is unknown or out of range.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        mixup: Mapping[str, Any] | None = None,
        label_smoothing: float = 0.0,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        import_timm()
        from timm.data import Mixup
        from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy

        self.backbone = MODELS.build(backbone)
        if not isinstance(self.backbone, ConvNeXtClassifier):
            raise UserError(
                f'the backbone of ImageClassifier is a {type(self.backbone).__name__}; it must be a '
                'ConvNeXtClassifier, which returns logits.',
                argument='backbone',
            )
        label_smoothing = checked(
            'label_smoothing', label_smoothing, (int, float), lambda s: 0 <= s < 1, 'a number, at least 0 and below 1'
        )
        self.mixup = None
        self.criterion: nn.Module
        if mixup:
            check_arguments('model.mixup', Mixup, mixup, ours=('num_classes', 'label_smoothing'))
            if not (
                mixup.get('mixup_alpha', 1.0) > 0 or mixup.get('cutmix_alpha', 0.0) > 0 or mixup.get('cutmix_minmax')
            ):
                raise UserError('model.mixup mixes nothing: both alphas are 0. Set model.mixup=None.', argument='mixup')
            self.mixup = Mixup(**mixup, label_smoothing=label_smoothing, num_classes=self.backbone.num_classes)
            self.criterion = SoftTargetCrossEntropy()
        elif label_smoothing:
            self.criterion = LabelSmoothingCrossEntropy(label_smoothing)
        else:
            self.criterion = nn.CrossEntropyLoss()

    def forward(
        self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None, mode: str = 'tensor'
    ) -> Any:
        """Classifies images (B, 3, H, W).

        Args:
            inputs: The images, normalized.
            data_samples: One for each image, with ``gt_label``, the number of its class; not needed in mode ``tensor``.
            mode: ``loss`` trains, ``predict`` classifies, and ``tensor`` returns logits.

        Returns:
            In mode ``loss`` a dictionary with ``loss``; in mode ``tensor`` logits (B, classes); in mode ``predict`` the
            data samples, each with ``logits``, (classes) in float32.

        Raises:
            UserError: If images are to be mixed in pairs, and their number is odd.
            ValueError: If a mode needs data samples and has none.
        """
        if mode == 'tensor':
            return self.backbone(inputs)
        if data_samples is None:
            raise ValueError(f'mode {mode!r} needs data_samples, one for each image.')
        if mode == 'loss':
            return dict(loss=self._loss(inputs, data_samples))
        logits = self.backbone(inputs)
        for sample, of_image in zip(data_samples, logits.float()):
            sample.set_data(dict(logits=of_image))
        return list(data_samples)

    def _loss(self, images: Tensor, samples: Sequence[BaseDataElement]) -> Tensor:
        targets = torch.tensor([sample.gt_label for sample in samples], device=images.device)
        if self.mixup is not None:
            if len(images) % 2:
                raise UserError(
                    f'a batch has {len(images)} images, and Mixup takes them in pairs. Set an even '
                    'train_dataloader.batch_size, and train_dataloader.drop_last=True.',
                    images=len(images),
                )
            images, targets = self.mixup(images, targets)
        return self.criterion(self.backbone(images), targets)
