"""Reads images and label maps in a data pipeline. Its errors name the faulty file."""

import copy
import os
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.config import ConfigDict
from mmengine.registry import TRANSFORMS
from mmseg.datasets.transforms import LoadAnnotations

from mmconvnext.config_tree import walk
from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.image_damage import UNREADABLE, is_damaged, why_unreadable
from mmconvnext.datasets.label_values import IGNORED, meaning
from mmconvnext.datasets.listing import first_few, is_remote
from mmconvnext.errors import OPENMMLAB

# The key of the path that each reader reads
READERS = {'LoadImageFromFile': 'img_path', 'LoadPILImage': 'img_path', 'LoadAnnotations': 'seg_map_path'}
# What mmcv's and MMSegmentation's readers raise for files that cannot be decoded
FAILURES = (cv2.error, AssertionError, AttributeError, *UNREADABLE)


class FileError(DataError):
    """A file that a data pipeline cannot read, or a label map with a label that is no class.

    When a worker process raises it, torch.utils.data builds the error again in the main process, from the text of the
    whole traceback. The constructor takes the message out of that text.
    """

    def __init__(self, message: str, /, **facts: Any) -> None:
        own = f'{type(self).__module__}.{type(self).__qualname__}: '
        super().__init__(message.rpartition(own)[2].strip(), **facts)


class NamedReader(BaseTransform):
    """Reads a file with another transform. If that fails, or the file is truncated, the error names the file.

    Args:
        transform: Config of the transform that reads.
        key: The key under which a sample has the path.

    Attributes:
        classes (int | None): The number of classes that a label map may have; None if label maps are not checked.
        ignored (frozenset[int]): The other labels that a loaded label map may have.

    Raises:
        FileError: If the file cannot be read, or if it is a label map with a label that is no class.
    """

    def __init__(self, transform: dict[str, Any], key: str) -> None:
        self.transform_of_file = TRANSFORMS.build(transform)
        self.key = key
        self.classes: int | None = None
        self.ignored = frozenset({IGNORED})

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Reads the file of a sample and returns what the other transform returns."""
        path = results.get(self.key)
        try:
            read = self.transform_of_file(results)
        except FAILURES as error:
            damage = None if path is None else self._why(str(path), error)
            if damage is None:
                raise
            raise FileError(damage, path=path) from error
        if read is not None and path is not None and os.path.isfile(path) and (cut := is_damaged(str(path))):
            raise FileError(_sentence(str(path), cut), path=path)
        if self.classes is not None and read is not None and path is not None:
            self._check_labels(str(path), read, self.classes)
        return read

    def _check_labels(self, path: str, results: dict[str, Any], classes: int) -> None:
        labels = results['gt_seg_map']
        if int((labels + np.uint8(1)).max()) <= classes:  # 255 becomes 0. It takes a hundredth of the time of reading
            return
        present, counts = np.unique(labels, return_counts=True)
        first = int(bool(self.transform_of_file.reduce_zero_label))  # loading subtracts it
        unknown = {
            label + first: count
            for label, count in zip(present.tolist(), counts.tolist(), strict=True)
            if label >= classes and label not in self.ignored
        }
        if unknown:
            numbered = len(results.get('label_map') or ()) or classes  # not all of a fixed list may be used
            said = first_few((f'{label} ({count} pixels)' for label, count in unknown.items()), 10)
            raise FileError(
                f'{path} has labels that are no class: {said}. A pixel must be {meaning(first, numbered)}. Renumber '
                'its labels, or take the file off the list; then go on with --resume.',
                path=path,
                labels=list(unknown),
            )

    def _why(self, path: str, error: Exception) -> str | None:
        """Says why a file cannot be read; returns None if it is not to blame."""
        if is_remote(path) or not os.path.exists(path):
            return _sentence(path, str(error)) if isinstance(error, OSError) else None
        damage = 'it has no bytes' if os.path.getsize(path) == 0 else why_unreadable(path)
        if damage:
            return _sentence(path, damage)
        if self.key == 'img_path' and isinstance(error, AssertionError | cv2.error):
            return f'{path} cannot be read by OpenCV, which the loader uses. Save it as JPEG or PNG.'
        return None

    def __repr__(self) -> str:
        """Shows the transform that reads."""
        return f'{type(self).__name__}({self.transform_of_file!r})'


def name_unreadable_files(dataloader: dict[str, Any]) -> dict[str, Any]:
    """Returns a copy of a data loader's config where a :class:`NamedReader` wraps each reader of the pipelines."""
    named = copy.deepcopy(dataloader)
    for node in list(walk(named)):
        for key, value in node.items():
            if isinstance(value, list | tuple) and key in ('pipeline', 'transforms'):
                node[key] = _named(value)
    return named


def check_labels(dataset: Any, ignored: frozenset[int]) -> None:
    """Makes the readers of a dataset's label maps refuse labels that are no class.

    A pipeline that has a user's own transforms is left alone, since these may change the labels.

    Args:
        dataset: A dataset, or a wrapper of datasets. A :class:`NamedReader` wraps each reader of the pipelines.
        ignored: The labels, as loaded, that the model ignores.
    """
    for wrapped in [getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', ())]:
        if wrapped is not None:
            check_labels(wrapped, ignored)
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    transforms = list(_flat(getattr(getattr(dataset, 'pipeline', None), 'transforms', ())))
    if not classes or not all(type(one).__module__.split('.')[0] in (*OPENMMLAB, 'mmconvnext') for one in transforms):
        return
    for transform in transforms:
        if isinstance(transform, NamedReader) and type(transform.transform_of_file) is LoadAnnotations:
            transform.classes, transform.ignored = len(classes), ignored | {IGNORED}


def _flat(transforms: Iterable[Any]) -> Iterator[Any]:
    """Yields transforms and the transforms inside them, such as those of test-time augmentation."""
    for transform in filter(callable, transforms):  # Albu holds configs in place of transforms
        yield transform
        for name in ('transforms', 'subroutines'):
            within = getattr(transform, name, ())
            yield from _flat([within] if callable(within) else within)


def _named(node: Any) -> Any:
    if isinstance(node, list | tuple):
        return [_named(item) for item in node]
    kind = node.get('type') if isinstance(node, ConfigDict) else None
    short = kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', None)
    if short not in READERS:
        return node
    return ConfigDict(type=NamedReader, transform=node, key=READERS[short])


def _sentence(path: str, why: str) -> str:
    return (
        f'{path} cannot be read: {why}. Copy or download it again, or take it off the list; then go on with --resume.'
    )
