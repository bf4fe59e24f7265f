"""Checks the content of a COCO annotation file: what MMDetection would drop silently, or trip over in mid-training."""

import gc
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.listing import absent, contents, is_remote, some

# What CocoDataset and pycocotools read of each record, without a default
REQUIRED = {
    'images': ('id', 'file_name', 'height', 'width'),
    'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area'),
    'categories': ('id', 'name'),
}
WITHOUT_MASKS = 'configs/detection/faster_rcnn_convnext_t_3x.py or cascade_rcnn_convnext_t_3x.py'

Records = dict[str, list[dict[str, Any]]]


def check_coco(
    dataset: Any,
    name: str,
    *,
    needs_masks: bool,
    needs_annotations: bool,
    how_to_set_classes: Callable[[Sequence[str]], str],
) -> frozenset[Any]:
    """Checks the annotation file of a detection dataset, and that its images are there.

    Args:
        dataset: A ``CocoDataset`` that has not loaded anything yet.
        name: What the config calls it, such as ``train_dataloader.dataset``.
        needs_masks: Whether instances need a ``segmentation``.
        needs_annotations: Whether there is something to learn or evaluate; a test that only writes results needs none.
        how_to_set_classes: Says, given class names, which lines of a config set them.

    Returns:
        The ids of the images.

    Raises:
        DataError: At the first thing that is wrong.
    """
    path = dataset.ann_file
    records = read_coco(path, needs_annotations)
    images = {image['id']: image for image in records['images']}
    _check_references(path, records, images)
    _check_classes(path, records['categories'], dataset.metainfo.get('classes'), name, how_to_set_classes)
    if needs_annotations:
        kept = _kept_annotations(path, records, images, dataset, name)
        if needs_masks:
            _check_masks(path, records['annotations'], kept)
    if not is_remote(dataset.data_prefix.get('img', ''), dataset.backend_args):
        _check_images(path, records['images'], dataset.data_prefix.get('img', ''), name)
    return frozenset(images)


def read_coco(path: str | Path, needs_annotations: bool = True) -> Records:
    """Reads a COCO annotation file and checks that its records have the fields that are read later.

    Raises:
        DataError: If it is not JSON, or not COCO's.
    """
    try:
        text = Path(path).read_text(encoding='utf-8')
        with _garbage_collection_paused():
            content = json.loads(text)
    except UnicodeDecodeError as error:
        raise DataError(f'{path} is not JSON: byte {error.start} is not UTF-8 text.') from error
    except json.JSONDecodeError as error:
        raise DataError(f'{path} is not JSON: {_what_is_wrong(error, text)}') from error
    if not isinstance(content, dict):
        raise DataError(
            f'{path} holds a JSON {type(content).__name__}; a COCO annotation file is an object with the keys '
            f'{", ".join(REQUIRED)}.'
        )
    if not needs_annotations:
        content.setdefault('annotations', [])
    missing = [key for key in REQUIRED if key not in content]
    if missing:
        raise DataError(
            f'{path} has no {" and no ".join(map(repr, missing))}; a COCO annotation file is an object with the keys '
            f'{", ".join(REQUIRED)}. This one has {some(content, 6) or "none"}.'
        )
    for key, fields in REQUIRED.items():
        _check_fields(path, key, content[key], fields)
    for key in ('images', 'categories', *(['annotations'] if needs_annotations else [])):
        if not content[key]:
            raise DataError(f"{path}: the list '{key}' is empty, so there is nothing to work on.")
    return {key: content[key] for key in REQUIRED}


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """The collector would walk through the growing millions of objects again and again, longer than parsing takes."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _what_is_wrong(error: json.JSONDecodeError, text: str) -> str:
    end = len(text.rstrip())
    if end == 0:
        return 'the file is empty.'
    # The parser points to the start of an unfinished string, word or escape, else to the end
    if error.msg.startswith('Unterminated') or error.pos >= end - 5:
        tail = text.rstrip()[-40:]
        return f'it ends in the middle, after {tail!r}. It was not copied or downloaded whole; get it again.'
    around = text[max(error.pos - 20, 0) : error.pos + 20]
    return f'{error.msg} at line {error.lineno}, column {error.colno}, in {around!r}.'


def _check_fields(path: str | Path, key: str, records: Any, fields: Sequence[str]) -> None:
    if not isinstance(records, list):
        raise DataError(f"{path}: '{key}' is a JSON {type(records).__name__}; it must be a list.")
    needed = frozenset(fields)
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            raise DataError(f'{path}: {key}[{index}] is {record!r}; it must be an object with {", ".join(fields)}.')
        if not needed <= record.keys():
            lacking = [field for field in fields if field not in record]
            raise DataError(
                f'{path}: {key}[{index}] has no {" and no ".join(map(repr, lacking))}; each of the {key} needs '
                f'{", ".join(fields)}.'
            )
    repeated = _first_repeated([record['id'] for record in records])
    if repeated is not None:
        raise DataError(f'{path}: two of the {key} have the id {repeated!r}; ids must be unique.')


def _first_repeated(values: Sequence[Any]) -> Any:
    if len(set(values)) == len(values):
        return None
    return next(value for value, count in Counter(values).items() if count > 1)


def _check_references(path: str, records: Records, images: Mapping[Any, dict[str, Any]]) -> None:
    categories = {category['id'] for category in records['categories']}
    for key, known in (('image_id', images), ('category_id', categories)):
        wrong = [i for i, annotation in enumerate(records['annotations']) if annotation[key] not in known]
        if wrong:
            kind = 'images' if key == 'image_id' else 'categories'
            raise DataError(
                f'{path}: {len(wrong)} of {len(records["annotations"])} annotations point to {kind} that the file does '
                f'not list. The first is annotations[{wrong[0]}] with {key} {records["annotations"][wrong[0]][key]!r}; '
                f'the {kind} have ids such as {some((repr(k) for k in known), 5)}. Add the {kind}, or remove the '
                'annotations.'
            )


def _check_classes(
    path: str,
    categories: Sequence[dict[str, Any]],
    classes: Any,
    name: str,
    how_to_set_classes: Callable[[Sequence[str]], str],
) -> None:
    names = [category['name'] for category in categories]
    if classes is None:
        raise DataError(f'{name} has no classes. {how_to_set_classes(names)}')
    repeated = _first_repeated([n for n in names if n in classes])
    if repeated is not None:
        raise DataError(f'{path}: two categories are named {repeated!r}; each class needs a name of its own.')
    unknown = [c for c in classes if c not in names]
    if unknown:
        raise DataError(
            f'{path}: the classes that {name} expects are not those of the file.\n'
            f'    expected but not in the file: {some(unknown, 10)}\n'
            f'    categories of the file: {some(names, 10)}\n'
            'MMDetection matches them by name, and would silently drop or mislabel the annotations.\n'
            f'{how_to_set_classes(names)}'
        )
    in_order = [n for n in names if n in classes]
    if in_order != list(classes):
        raise DataError(
            f'{path}: {name} lists the classes in another order than the file. MMDetection numbers them in the '
            f"file's order, so pictures and predictions would carry wrong names.\n{how_to_set_classes(in_order)}"
        )


def _kept_annotations(
    path: str, records: Records, images: Mapping[Any, dict[str, Any]], dataset: Any, name: str
) -> list[int]:
    """Returns the indices of those that CocoDataset.parse_data_info keeps."""
    names = frozenset(dataset.metainfo['classes'])
    classes = {category['id'] for category in records['categories'] if category['name'] in names}
    kept = []
    dropped: Counter[str] = Counter()
    for index, annotation in enumerate(records['annotations']):
        box = annotation['bbox']
        if not (isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) for v in box)):
            raise DataError(
                f'{path}: annotations[{index}] has the bbox {box!r}; it must be four numbers, [x, y, width, height] in '
                'pixels.'
            )
        if annotation['category_id'] not in classes:
            dropped['of other categories'] += 1
        elif annotation.get('ignore'):
            dropped["marked 'ignore'"] += 1
        elif annotation['area'] <= 0:
            dropped["with an 'area' of 0"] += 1
        elif not _covers_a_pixel(box, images[annotation['image_id']]):
            dropped['with a box outside the image or smaller than a pixel'] += 1
        else:
            kept.append(index)
    if not kept:
        reasons = ', '.join(f'{count} {reason}' for reason, count in dropped.items())
        raise DataError(
            f'{path}: none of the {len(records["annotations"])} annotations is usable ({reasons}). A bbox is [x, y, '
            'width, height] in pixels.'
        )
    min_size = (dataset.filter_cfg or {}).get('min_size', 0)
    if not dataset.test_mode and all(min(image['width'], image['height']) < min_size for image in images.values()):
        first = records['images'][0]
        raise DataError(
            f'{path}: every image has a side below {min_size} pixels, the first is {first["width"]}x{first["height"]}, '
            f'and {name}.filter_cfg.min_size={min_size} leaves such images out. Add --cfg-options '
            f'{name}.filter_cfg.min_size=1.'
        )
    return kept


def _covers_a_pixel(box: Sequence[float], image: Mapping[str, Any]) -> bool:
    x, y, width, height = box
    inside_x = min(x + width, image['width']) - max(x, 0)
    inside_y = min(y + height, image['height']) - max(y, 0)
    return width >= 1 and height >= 1 and inside_x > 0 and inside_y > 0


def _check_masks(path: str, annotations: Sequence[dict[str, Any]], kept: Sequence[int]) -> None:
    without = [index for index in kept if not annotations[index].get('segmentation')]
    if not without:
        return
    if len(without) == len(kept):
        raise DataError(
            f'{path}: the annotations have boxes but no segmentation, and this config trains masks. Use a config '
            f'without masks: {WITHOUT_MASKS}.'
        )
    raise DataError(
        f'{path}: {len(without)} of {len(kept)} annotations have no segmentation, and this config trains masks. The '
        f'first is annotations[{without[0]}]. Add their polygons, remove them, or use a config without masks: '
        f'{WITHOUT_MASKS}.'
    )


def _check_images(path: str, images: Sequence[dict[str, Any]], folder: str, name: str) -> None:
    missing = absent(os.path.join(folder, image['file_name']) for image in images)
    if missing:
        raise DataError(
            f'{path}: {len(missing)} of its {len(images)} images are not there. The first is {missing[0]}.\n'
            f'The folder {folder} {contents(folder)}. Its path is data_root and data_prefix of {name}; what follows '
            "is the file's file_name."
        )
