"""Reads an image as the authors' code does, and lets timm augment, resize and crop it."""

from collections.abc import Iterator
from typing import Any

import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from mmengine.structures import BaseDataElement
from PIL import Image, ImageOps
from torchvision.datasets.folder import pil_loader

from mmconvnext.classification.imported_timm import check_arguments, import_timm


@TRANSFORMS.register_module()
class LoadPILImage(BaseTransform):
    """Reads ``img_path`` by Pillow as an RGB image, ``img``, which is how torchvision's ImageFolder reads it.

    OpenCV decodes and resizes otherwise, which changes accuracies by tenths of a point.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Reads the image of a sample."""
        return results | dict(img=pil_loader(results['img_path']))


@TRANSFORMS.register_module()
class TimmTransform(BaseTransform):
    """What timm's ``create_transform`` gives: from an RGB image of Pillow to a normalized tensor (3, H, W) in float32.

    Args:
        arguments: Those of timm's ``create_transform``, such as ``input_size``, ``is_training`` and ``auto_augment``.

    Raises:
        UserError: If timm is not installed, or has no such argument.
    """

    def __init__(self, **arguments: Any) -> None:
        import_timm()
        from timm.data import create_transform

        # These give something else than a tensor of an image
        check_arguments('TimmTransform', create_transform, arguments, ours=('separate', 'use_prefetcher', 'naflex'))
        self.view = create_transform(**arguments)
        for operation in _operations(self.view):
            if operation.name.startswith('Posterize'):
                operation.aug_fn = posterize

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replaces ``img`` by the tensor."""
        return results | dict(img=self.view(results['img']))

    def __repr__(self) -> str:
        """The steps that timm composed."""
        return f'{type(self).__name__}({self.view})'


def posterize(image: Image.Image, bits: int, **unused: Any) -> Image.Image:
    """Keeps the upper bits of each pixel; none of them gives a black image.

    RandAugment of magnitude 9 with a spread of 0.5 asks for 0 bits now and then. Pillow refuses that since release 13,
    of which timm 1.0.31 does not know; before, and so in the published trainings, the image became black.
    """
    if bits >= 8:
        return image
    return ImageOps.posterize(image, bits) if bits >= 1 else Image.new(image.mode, image.size)


def _operations(view: Any) -> Iterator[Any]:
    """The single operations of timm's RandAugment and AutoAugment in what it composed."""
    for transform in getattr(view, 'transforms', ()):
        yield from getattr(transform, 'ops', ())
        for policy in getattr(transform, 'policy', ()):
            yield from policy


@TRANSFORMS.register_module()
class PackImageAndClass(BaseTransform):
    """Packs ``img``, a tensor (3, H, W), the path of its file, and ``gt_label``, the number of its class."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Packs a sample."""
        known = dict(img_path=results['img_path'], gt_label=results['gt_label'])
        return dict(inputs=torch.as_tensor(results['img']), data_samples=BaseDataElement(metainfo=known))
