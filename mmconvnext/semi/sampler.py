"""Batches of labelled and unlabelled images in a fixed ratio."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmdet.datasets.samplers import GroupMultiSourceSampler, MultiSourceSampler
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from mmconvnext.errors import UserError


@DATA_SAMPLERS.register_module()
class LabelledAndUnlabelledSampler(Sampler):
    """MMDetection's GroupMultiSourceSampler, but never one that waits for an image that does not exist.

    A batch holds wide images or tall ones, so that little is padded. MMDetection's sampler searches forever if one
    source has no image of that shape; here batches then mix both shapes.

    Args:
        dataset: A ConcatDataset of the sources.
        batch_size: Images of a batch; the same as the loader's.
        source_ratio: How many images of each source a batch has, in proportion. Each source has at least one.
        shuffle: Whether the order is random.
        seed: Of the order; by default one that all processes share.

    Attributes:
        grouped (bool): Whether each batch has images of one shape.

    Raises:
        UserError: If a source has no image, or a batch would have none of it.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        source_ratio: Sequence[float],
        shuffle: bool = True,
        seed: int | None = None,
    ) -> None:
        sources = getattr(dataset, 'datasets', None)
        if not sources or len(sources) != len(source_ratio):
            raise UserError(
                f'source_ratio {list(source_ratio)} is for {len(source_ratio)} datasets in a ConcatDataset, and '
                f'there are {len(sources or ())}.'
            )
        empty = [index for index, source in enumerate(sources) if len(source) == 0]
        if empty:
            raise UserError(
                f'train_dataloader.dataset.datasets.{empty[0]} has no image left to train on, so no batch can be made.',
                empty=empty,
            )
        counts = [int(batch_size * share / sum(source_ratio)) for share in source_ratio[1:]]
        counts.insert(0, batch_size - sum(counts))  # as MMDetection rounds
        if min(counts) < 1:
            raise UserError(
                f'a batch of {batch_size} images in the ratio {":".join(map(str, source_ratio))} has {counts} of the '
                'datasets, and each must have one or more. Set train_dataloader.batch_size to a larger number.',
                counts=counts,
            )
        shapes = [{_is_wide(source.get_data_info(index)) for index in range(len(source))} for source in sources]
        self.grouped = all(shape == shapes[0] for shape in shapes)
        kind = GroupMultiSourceSampler if self.grouped else MultiSourceSampler
        self.sampler = kind(dataset, batch_size, list(source_ratio), shuffle, seed)

    def __iter__(self) -> Iterator[int]:
        """Yields indices without end, batch after batch; within a batch, source after source."""
        return iter(self.sampler)

    def __len__(self) -> int:
        """How many images the sources have together."""
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Does nothing: there are no epochs."""


def _is_wide(image: dict[str, Any]) -> bool:
    return image['width'] >= image['height']
