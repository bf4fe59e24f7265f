"""Takes the labels from most images of a COCO annotation file, as the benchmarks of semi-supervised detection do.

Their files are called ``semi_anns/instances_train2017.1@10.json``, for fold 1 of 10 % of the labels, and
``semi_anns/instances_train2017.1@10-unlabeled.json`` for the rest. Names and layout here are those of MMDetection's
``tools/misc/split_coco.py``. Which images are labelled is not: that draws with repetition, so that its 10 % of COCO are
about 9.5 %, and it leaves the annotations in the file of the unlabelled images.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmconvnext.datasets.coco.reading import UnreadableError, garbage_collection_paused, read_text
from mmconvnext.datasets.errors import DataError
from mmconvnext.whole_files import written_whole

FOLDER = 'semi_anns'
NAME = re.compile(r'(?P<source>.+)\.(?P<fold>\d+)@(?P<percent>\d+(\.\d+)?)(?P<unlabelled>-unlabeled)?\.json')


@dataclass(frozen=True)
class SplitFiles:
    """The two files of a split.

    Args:
        labelled: Images of the labelled share, with their annotations.
        unlabelled: The other images, without annotations. Its categories are those of ``labelled``.
    """

    labelled: Path
    unlabelled: Path


def split_labels(coco: dict[str, Any], percent: float, fold: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits the content of a COCO annotation file by its images.

    The choice depends on the ids of the images and on the fold alone: neither on the order in the file nor on a random
    number generator. A smaller share of a fold is part of a larger one.

    Args:
        coco: With ``images``, ``annotations`` and ``categories``. It stays as it is.
        percent: Of the images that keep their annotations, above 0 and below 100. Their number is rounded, and at least
            one image is on each side.
        fold: Which draw, 0 or more.

    Returns:
        The labelled share, and the other images without annotations. Both have all categories and whatever else is in
        the file, and keep its order.

    Raises:
        ValueError: If ``percent`` or ``fold`` is out of range, or there are fewer than two images.
    """
    if not 0 < percent < 100:
        raise ValueError(f'percent is {percent!r}; it must be above 0 and below 100.')
    if fold < 0:
        raise ValueError(f'fold is {fold!r}; it must be 0 or more.')
    ids = [image['id'] for image in coco['images']]
    if len(ids) < 2:
        raise ValueError(f'there are {len(ids)} images; a split needs at least two.')
    ids.sort(key=lambda image_id: hashlib.sha256(f'{fold}:{image_id}'.encode()).digest())
    count = min(max(round(len(ids) * percent / 100), 1), len(ids) - 1)
    chosen = set(ids[:count])
    others = {key: value for key, value in coco.items() if key not in ('images', 'annotations')}
    labelled = {
        'images': [image for image in coco['images'] if image['id'] in chosen],
        'annotations': [annotation for annotation in coco['annotations'] if annotation['image_id'] in chosen],
    }
    unlabelled = {'images': [image for image in coco['images'] if image['id'] not in chosen], 'annotations': []}
    return {**labelled, **others}, {**unlabelled, **others}


def split_file(source: Path, percent: float, fold: int, folder: Path | None = None) -> SplitFiles:
    """Writes the two files of a split. The source stays as it is, and each file has its name once it is whole.

    Args:
        source: A COCO annotation file.
        percent: As for :func:`split_labels`.
        fold: As for :func:`split_labels`.
        folder: Where to; by default ``semi_anns`` beside the folder of the source.

    Raises:
        DataError: If the source is not a COCO annotation file with categories.
        UserError: If a file cannot be written.
        ValueError: As :func:`split_labels`.
    """
    folder = source.parent.parent / FOLDER if folder is None else folder
    files = split_files(source, percent, fold, folder)
    with garbage_collection_paused():
        parts = split_labels(_read(source), percent, fold)
        folder.mkdir(parents=True, exist_ok=True)
        for path, part in zip((files.labelled, files.unlabelled), parts):
            with written_whole(path) as unfinished, unfinished.open('w', encoding='ascii') as file:
                json.dump(part, file)
    return files


def split_files(source: Path, percent: float, fold: int, folder: Path) -> SplitFiles:
    """Returns the names of a split's files, whether they are there or not."""
    stem = f'{source.stem}.{fold}@{percent:g}'
    return SplitFiles(folder / f'{stem}.json', folder / f'{stem}-unlabeled.json')


def is_split(path: Path) -> bool:
    """Whether a path is that of a split's file, such as ``semi_anns/instances_train2017.1@10.json``."""
    return path.parent.name == FOLDER and bool(NAME.fullmatch(path.name))


def make_named_split(path: Path) -> bool:
    """Makes a split that a config names, from ``annotations/`` beside its folder, if it is not there.

    Args:
        path: Such as ``data/mini/coco/semi_anns/instances_train2017.1@10.json``.

    Returns:
        Whether the name is that of a split.
    """
    if not is_split(path) or not (found := NAME.fullmatch(path.name)):
        return False
    if not path.exists():
        source = path.parent.parent / 'annotations' / f'{found["source"]}.json'
        split_file(source, float(found['percent']), int(found['fold']), path.parent)
    return True


def _read(source: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(source)[0])
    except UnreadableError as error:
        raise DataError(f'{source} {error.what}. {error.remedy}'.strip(), path=source) from error
    except json.JSONDecodeError as error:
        raise DataError(f'{source} is not JSON: {error}.', path=source) from error
    wanted = ('images', 'annotations', 'categories')
    missing = [key for key in wanted if not (isinstance(content, dict) and isinstance(content.get(key), list))]
    if missing:
        raise DataError(
            f'{source} has no list of {", ".join(missing)}, so it is no COCO annotation file that could be split.',
            path=source,
            missing=missing,
        )
    return content
