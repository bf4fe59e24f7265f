"""Reading images and label maps in a data pipeline, so that a file that cannot be read is named in a sentence."""

import copy
import os
from typing import Any

import cv2
from mmcv.transforms import BaseTransform
from mmengine.config import ConfigDict
from mmengine.registry import TRANSFORMS

from mmconvnext.config_tree import walk
from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.image_files import UNREADABLE, is_damaged, why_unreadable
from mmconvnext.datasets.listing import is_remote

READERS = {'LoadImageFromFile': 'img_path', 'LoadAnnotations': 'seg_map_path'}  # and what each reads of a sample
# What mmcv's and MMSegmentation's readers raise for files that cannot be decoded
FAILURES = (cv2.error, AssertionError, AttributeError, *UNREADABLE)


class FileError(DataError):
    """A file that a data pipeline cannot read.

    torch.utils.data makes the error of a worker process anew from the text of its traceback; what is left of that
    text is the message.
    """

    def __init__(self, message: str, /, **facts: Any) -> None:
        own = f'{type(self).__module__}.{type(self).__qualname__}: '
        super().__init__(message.rpartition(own)[2].strip(), **facts)


class NamedReader(BaseTransform):
    """Reads a file by another transform; if that fails, or the file is cut off, the error names the file.

    Args:
        transform: Config of the transform that reads.
        key: Which entry of a sample is the path.

    Raises:
        FileError: If the file cannot be read.
    """

    def __init__(self, transform: dict[str, Any], key: str) -> None:
        self.transform_of_file = TRANSFORMS.build(transform)
        self.key = key

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Reads the file of a sample; returns what the other transform does."""
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
        return read

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
        """As the transform that reads."""
        return f'{type(self).__name__}({self.transform_of_file!r})'


def name_unreadable_files(dataloader: dict[str, Any]) -> dict[str, Any]:
    """Returns a copy of a data loader's config in whose pipelines a :class:`NamedReader` is around each reader."""
    named = copy.deepcopy(dataloader)
    for node in list(walk(named)):
        for key, value in node.items():
            if isinstance(value, list | tuple) and key in ('pipeline', 'transforms'):
                node[key] = _named(value)
    return named


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
