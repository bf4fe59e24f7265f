"""Writes a corrected copy of an annotation file whose meaning is certain, so that every program can read it."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmconvnext.datasets.coco.reading import garbage_collection_paused, read_text
from mmconvnext.datasets.coco.segmentation import has_short_parts, text_of_bytes


@dataclass
class Mends:
    """The changes from an annotation file to its corrected copy.

    Args:
        encoding: The encoding of the file; None if it is UTF-8.
        file_names: The names under which images exist, by the image's index.
        left_out: Indices of records that repeat others, or of unused categories, by the key of their list.
        renumber: Whether annotations get new ids, from 1 on.
        crowd: Whether annotations without ``iscrowd`` get 0.
        whole_numbers: Whether sizes such as 96.0 become 96.
        short_parts: Whether polygons of fewer than three points are removed from annotations that have others.
        counts_of_bytes: Whether counts that are written as Python prints bytes become text.
        class_order: Names of all categories in their new order, or None to keep the order.
    """

    encoding: str | None = None
    file_names: dict[int, str] = field(default_factory=dict)
    left_out: dict[str, set[int]] = field(default_factory=dict)
    renumber: bool = False
    crowd: bool = False
    whole_numbers: bool = False
    short_parts: bool = False
    counts_of_bytes: bool = False
    class_order: list[str] | None = None

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return self != Mends()

    def apply(self, content: dict[str, Any]) -> None:
        """Corrects the content of the file, in place."""
        for index, name in self.file_names.items():
            content['images'][index]['file_name'] = name
        if self.whole_numbers:
            for image in content['images']:
                image.update(height=int(image['height']), width=int(image['width']))
        for key, indices in self.left_out.items():
            content[key] = [record for index, record in enumerate(content[key]) if index not in indices]
        if (order := self.class_order) is not None:
            content['categories'].sort(key=lambda category: order.index(category['name']))
        for number, annotation in enumerate(content.get('annotations') or (), 1):
            if self.renumber:
                annotation['id'] = number
            if self.crowd and annotation.get('iscrowd') is None:
                annotation['iscrowd'] = 0
            segmentation = annotation.get('segmentation')
            if self.counts_of_bytes and isinstance(segmentation, dict):
                counts = segmentation.get('counts')
                segmentation['counts'] = text_of_bytes(counts) or counts
            if self.short_parts and isinstance(segmentation, list) and has_short_parts(segmentation):
                annotation['segmentation'] = [polygon for polygon in segmentation if len(polygon) >= 6]


def write_copy(path: str, mends: Mends, folder: Path) -> str:
    """Writes the corrected copy of a file; the file itself stays as it is.

    Returns:
        The absolute path of the copy. Files of the same name in different folders get copies of different names.
    """
    source = os.path.abspath(path)
    mark = hashlib.sha256(source.encode()).hexdigest()[:8]
    copy = folder.absolute() / f'{Path(path).stem}.{mark}.json'
    with garbage_collection_paused():
        content = json.loads(read_text(path)[0])
        mends.apply(content)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = copy.with_suffix(f'.{os.getpid()}.unfinished')
    try:
        with unfinished.open('w', encoding='ascii') as file:  # reads the same whatever encoding the machine prefers
            json.dump(content, file)
        os.replace(unfinished, copy)
    finally:
        unfinished.unlink(missing_ok=True)
    return str(copy)
