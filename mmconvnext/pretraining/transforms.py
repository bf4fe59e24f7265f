"""The authors' augmentation for pre-training, and a transform that packs images without labels."""

from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from mmengine.structures import BaseDataElement
from torch import Tensor
from torchvision.transforms.v2 import RandomResizedCrop, functional


class _Crop(BaseTransform):
    """Cuts a part out of a sample's ``img``, (H, W, C) uint8, and resizes it by bicubic interpolation.

    Args:
        size: (height, width) of the result in pixels, or one number for both.
    """

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)

    def box(self, image: Tensor) -> tuple[int, int, int, int]:
        """Chooses top, left, height and width of the part to cut out of an image (C, H, W)."""
        raise NotImplementedError

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crops and resizes the image of a sample."""
        image = torch.from_numpy(np.ascontiguousarray(results['img'])).permute(2, 0, 1)
        resized = functional.resized_crop(
            image, *self.box(image), list(self.size), functional.InterpolationMode.BICUBIC, antialias=True
        )
        return results | dict(img=resized.permute(1, 2, 0).numpy(), img_shape=self.size)


@TRANSFORMS.register_module()
class RandomCropAndResize(_Crop):
    """Cuts out a part of random place, size and proportions: torchvision's RandomResizedCrop.

    Args:
        size: (height, width) of the result in pixels, or one number for both.
        scale: Smallest and largest share of the image's area.
        ratio: Smallest and largest width over height.
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        scale: tuple[float, float] = (0.2, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        super().__init__(size)
        self._crop = RandomResizedCrop(self.size, scale, ratio)

    def box(self, image: Tensor) -> tuple[int, int, int, int]:
        """Draws the part at random."""
        drawn = self._crop.make_params([image])
        return drawn['top'], drawn['left'], drawn['height'], drawn['width']


@TRANSFORMS.register_module()
class CenterCropAndResize(_Crop):
    """Cuts out the largest part in the middle of the image that has the proportions of the result."""

    def box(self, image: Tensor) -> tuple[int, int, int, int]:
        """Returns the part in the middle."""
        height, width = image.shape[1:]
        scale = min(height / self.size[0], width / self.size[1])
        inner_height, inner_width = round(scale * self.size[0]), round(scale * self.size[1])
        return (height - inner_height) // 2, (width - inner_width) // 2, inner_height, inner_width


@TRANSFORMS.register_module()
class PackImages(BaseTransform):
    """Packs ``img`` as a tensor (C, H, W), and the path of its file."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Packs a sample."""
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        sample = BaseDataElement(metainfo=dict(img_path=results['img_path']))
        return dict(inputs=torch.from_numpy(image), data_samples=sample)
