"""A dataset of images without labels, from a folder tree or a list."""

import codecs
import os
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS

from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.image_map_pairs import IMAGES
from mmconvnext.runner.skipped_images import PassingOverDataset


@DATASETS.register_module()
class UnlabelledImages(PassingOverDataset):
    """All images below a folder, or those of a list.

    An image that cannot be read does not end a training of days: the next one takes its place.

    Args:
        ann_file: A text file with one image path per line, relative to ``data_prefix['img_path']``. If it is empty, all
            images below that folder are used.
        data_prefix: ``img_path``, the folder of the images.
        kwargs: Arguments of MMEngine's ``BaseDataset``, such as ``data_root`` and ``pipeline``.

    Raises:
        DataError: If there are no images, or the list is not text.
    """

    def __init__(self, ann_file: str = '', data_prefix: dict | None = None, **kwargs: Any) -> None:
        super().__init__(ann_file=ann_file, data_prefix=data_prefix or dict(img_path=''), **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Returns the path of each image, in the order of the list or, without one, sorted."""
        folder = self.data_prefix['img_path']
        if self.ann_file:
            lines = _read_lines(Path(self.ann_file))
            paths = [_as_found(os.path.join(folder, line.strip())) for line in lines if line.strip()]
        else:
            paths = sorted(
                os.path.join(place, name)
                for place, _, names in os.walk(folder, followlinks=True)
                for name in names
                if name.lower().endswith(IMAGES)
            )
        if not paths:
            raise DataError(
                f'{self.ann_file or folder} has no images; they end in {", ".join(IMAGES)}.',
                path=self.ann_file or folder,
            )
        return [dict(img_path=path) for path in paths]


def _read_lines(path: Path) -> list[str]:
    """Reads a list in UTF-8, or in UTF-16 with a byte order mark, which Windows tools write."""
    content = path.read_bytes()
    encoding = 'utf-16' if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else 'utf-8-sig'
    try:
        return content.decode(encoding).splitlines()
    except UnicodeDecodeError as error:
        raise DataError(
            f'{path} is not UTF-8 text: byte {error.start + 1} is {content[error.start]:#04x}. Save the list as UTF-8.',
            path=str(path),
        ) from error


def _as_found(path: str) -> str:
    """Returns a path of a list, with slashes in place of Windows' backslashes if only that file exists."""
    slashes = path.replace('\\', '/')
    return slashes if slashes != path and not os.path.exists(path) and os.path.exists(slashes) else path
