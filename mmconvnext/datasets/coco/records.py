"""Reads the records of a COCO annotation file in little memory, and finds what is wrong with each by itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple

from mmconvnext.datasets.coco.extents import Extents, ExtentsReader
from mmconvnext.datasets.coco.file_kinds import other_object
from mmconvnext.datasets.coco.mending import Mends
from mmconvnext.datasets.coco.reading import UnreadableError, members, read_text
from mmconvnext.datasets.coco.segmentation import MaskError, check_segmentation, has_short_parts, text_of_bytes
from mmconvnext.datasets.listing import first_few

# What CocoDataset and pycocotools read of each record, without a default. Annotations also have an id; unsound ids are
# replaced
REQUIRED = {
    'images': ('id', 'file_name', 'height', 'width'),
    'annotations': ('image_id', 'category_id', 'bbox', 'area'),
    'categories': ('id', 'name'),
}
# What to do with a file without annotations, such as that of COCO's own test set
NO_TRUTH = (
    'A test set without annotations can be predicted on, not evaluated: add --cfg-options '
    'test_evaluator.format_only=True test_evaluator.outfile_prefix=FOLDER/results to tools/test.py.'
)
BOX = 'a bbox is [x, y, width, height], four numbers in pixels'


class Image(NamedTuple):
    """An image; its width or height is 0 where the file has no sound one."""

    place: int
    id: Any
    file_name: str
    width: int
    height: int


class Annotation(NamedTuple):
    """An annotation, whose box and area are sound.

    Args:
        place: Its index in the file.
        id: None where it is not a number.
        image_id: The id of its image.
        category_id: The id of its category.
        bbox: x, y, width and height in pixels.
        area: The area in pixels.
        crowd: Whether ``iscrowd`` is set.
        ignore: Whether ``ignore`` is set; MMDetection then leaves it out.
        mask: The height and width of a run-length mask, ``polygons``, ``unsound``, or None where there is none.
    """

    place: int
    id: Any
    image_id: Any
    category_id: Any
    bbox: tuple[float, float, float, float]
    area: float
    crowd: bool
    ignore: bool
    mask: tuple[int, int] | str | None

    def __str__(self) -> str:
        """The place of the annotation in the file, and its ids."""
        return f'annotations[{self.place}] (id {self.id!r}, image_id {self.image_id!r})'


class Category(NamedTuple):
    """A category."""

    place: int
    id: Any
    name: str
    parent: Any


class Fault(NamedTuple):
    """What is wrong with a record by itself.

    Args:
        kind: A short name.
        what: What is wrong, as the part of a sentence that follows the count: ``annotations have no area``.
        remedy: A sentence.
        where: The record, the field and its value.
        place: The index of an annotation.
        image_id: The image of an annotation; the fault counts only if the file lists that image.
    """

    kind: str
    what: str
    remedy: str
    where: str
    place: int = -1
    image_id: Any = None


@dataclass
class Records:
    """What was read from a file.

    Args:
        images: The images that have an id and a name, in the order of the file.
        listed_images: Ids of all images, even of those that lack something.
        annotations: The annotations with sound boxes and areas.
        categories: The categories, in the order of the file.
        count: How many records each list has.
        faults: The faults that end the run.
        annotation_faults: The faults of annotations that end the run if the file lists their image.
        mask_faults: The faults of masks that end the run if these masks are read.
        without_crowd: Indices of annotations that have no ``iscrowd``.
        short_parts: Indices of annotations some of whose polygons have fewer than three points.
        counts_of_bytes: Indices of annotations whose run-length counts are written as Python prints bytes.
        sizes_with_point: Indices of images with a size such as 96.0, once for each such side.
        mends: The changes that a corrected copy of the file needs, as far as they are known.
        extents: The extents of the sound masks, by the index of their annotation.
    """

    images: list[Image] = field(default_factory=list)
    listed_images: set[Any] = field(default_factory=set)
    annotations: list[Annotation] = field(default_factory=list)
    categories: list[Category] = field(default_factory=list)
    count: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    annotation_faults: list[Fault] = field(default_factory=list)
    mask_faults: list[Fault] = field(default_factory=list)
    without_crowd: list[int] = field(default_factory=list)
    short_parts: list[int] = field(default_factory=list)
    counts_of_bytes: list[int] = field(default_factory=list)
    sizes_with_point: list[int] = field(default_factory=list)
    mends: Mends = field(default_factory=Mends)
    extents: Extents = field(default_factory=lambda: ExtentsReader().finish(0))


def read_records(path: str, *, needs_annotations: bool) -> Records:
    """Reads a COCO annotation file.

    Args:
        path: The file.
        needs_annotations: Whether the file must have annotations.

    Raises:
        UnreadableError: If it is not JSON, or lacks a list that it must have.
    """
    text, encoding = read_text(path)
    records = Records(mends=Mends(encoding=encoding))
    extents = ExtentsReader()
    keys: list[str] = []
    for key, index, value in members(text, frozenset(REQUIRED)):
        if index is None:
            if key in REQUIRED:
                _check_list(key, value, keys)
            keys.append(key)
            continue
        records.count[key] = index + 1
        if key == 'annotations':
            _read_annotation(records, index, value, extents)
        elif key == 'images':
            _read_image(records, index, value)
        else:
            _read_category(records, index, value)
    needed = ('images', 'categories', *(['annotations'] if needs_annotations else []))
    missing = [key for key in needed if key not in keys]
    if missing and (other := other_object(keys)):
        raise UnreadableError(*other)
    if missing:
        raise UnreadableError(
            f'has no {" and no ".join(map(repr, missing))}; a COCO annotation file is an object with the keys '
            f'{", ".join(REQUIRED)}. This one has {first_few(keys, 6) or "none"}',
            NO_TRUTH if missing == ['annotations'] else '',
        )
    for key in needed:
        if not records.count.get(key):
            raise UnreadableError(f"has an empty list '{key}', so there is nothing to work on")
    records.extents = extents.finish(records.count.get('annotations', 0))
    return records


def kind_of(value: Any) -> str:
    """Says in words what a value is."""
    return 'text' if isinstance(value, str) else 'a number' if is_number(value) else f'{value!r}'


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return type(value) in (int, float) and isfinite(value)


def _check_list(key: str, value: Any, keys: Sequence[str]) -> None:
    if not isinstance(value, list):
        raise UnreadableError(f"has a JSON {type(value).__name__} as '{key}'; it must be a list")
    if key in keys:
        raise UnreadableError(f'has the key {key!r} twice, and readers would drop the first list')


def _lacks(records: Records, key: str, index: int, record: Any) -> bool:
    """Returns whether a record lacks a required field, and adds a fault if so."""
    fields = REQUIRED[key]
    if not isinstance(record, dict):
        what, where = f'{key} are no objects', f'{key}[{index}] is {record!r:.60}'
        records.faults.append(Fault(f'{key}-not-objects', what, f'Each needs {", ".join(fields)}.', where))
        return True
    lacking = [name for name in fields if name not in record]
    if lacking:
        names = ' and no '.join(map(repr, lacking))
        what, where = f'{key} lack a field', f'{key}[{index}] (id {record.get("id")!r}) has no {names}'
        fault = Fault(f'{key}-without-field', what, f'Each needs {", ".join(fields)}.', where, index)
        if key == 'annotations' and 'category_id' in record and _sound_id(record.get('image_id')):
            records.annotation_faults.append(fault._replace(image_id=record['image_id']))
        else:
            records.faults.append(fault)
    return bool(lacking)


def _sound_id(value: Any) -> bool:
    return isinstance(value, str) or is_number(value)


def _read_image(records: Records, index: int, record: Any) -> None:
    if isinstance(record, dict) and _sound_id(record.get('id')):
        records.listed_images.add(record['id'])
    if isinstance(record, dict) and 'file_name' not in record and 'coco_url' in record:
        what = 'images have a coco_url and no file_name, as in LVIS'
        remedy = 'type="LVISV1Dataset" reads LVIS; for CocoDataset write the end of coco_url as file_name.'
        where = f'images[{index}] has coco_url {record["coco_url"]!r:.80}'
        records.faults.append(Fault('images-of-lvis', what, remedy, where))
        return
    if _lacks(records, 'images', index, record):
        return
    where = f'images[{index}] (id {record["id"]!r}'
    if not _sound_id(record['id']):
        what = 'images have an id that is neither a number nor text'
        records.faults.append(Fault('image-id', what, 'Give each a number of its own.', f'{where})'))
        return
    name = record['file_name']
    if not isinstance(name, str) or not name:
        what = 'images have a file_name that is no name'
        where = f'{where}) has file_name {name!r:.60}'
        records.faults.append(Fault('image-name', what, 'Write the name of its file.', where))
        return
    size, wrong = {}, []
    for key in ('width', 'height'):
        value = record[key]
        if is_number(value) and value > 0 and value == int(value):
            if type(value) is float:
                records.sizes_with_point.append(index)
            size[key] = int(value)
        else:
            size[key] = 0
            wrong.append(f'{key} {value!r:.60}')
    if wrong:
        remedy = 'width and height must be whole numbers of pixels above 0: open the images and write their sizes.'
        where = f'{where}, {name}) has {" and ".join(wrong)}'
        records.faults.append(Fault('image-size', 'images have no sound size', remedy, where))
    records.images.append(Image(index, record['id'], name, **size))


def _read_category(records: Records, index: int, record: Any) -> None:
    if _lacks(records, 'categories', index, record):
        return
    if not _sound_id(record['id']) or not isinstance(record['name'], str):
        what = 'categories have an id that is neither a number nor text, or a name that is no text'
        where = f'categories[{index}] has id {record["id"]!r:.60} and name {record["name"]!r:.60}'
        records.faults.append(Fault('category-fields', what, 'Correct it.', where))
        return
    records.categories.append(Category(index, record['id'], record['name'], record.get('supercategory')))


def _read_annotation(records: Records, index: int, record: Any, extents: ExtentsReader) -> None:
    if _lacks(records, 'annotations', index, record):
        return
    image_id, category_id = record['image_id'], record['category_id']
    for key in ('image_id', 'category_id'):
        if not _sound_id(record[key]):
            what = f'annotations have as {key} neither a number nor text'
            where = f'annotations[{index}] has {key} {record[key]!r:.60}'
            records.faults.append(Fault(f'annotation-{key}', what, f'Write the id of the {key[:-3]}.', where))
            return
    given = record.get('id')
    where = f'annotations[{index}] (id {given!r}, image_id {image_id!r})'

    def fault(kind: str, what: str, remedy: str, said: str) -> Fault:
        return Fault(kind, what, remedy, f'{where} {said}', index, image_id)

    box, area = record['bbox'], record['area']
    try:
        sound = type(box) is list and len(box) == 4 and isfinite(sum(box)) and bool not in map(type, box)
    except (TypeError, OverflowError):
        sound = False
    if not sound:
        said = f'has bbox {box!r:.80}'
        records.annotation_faults.append(fault('box', 'boxes cannot be read', f'{BOX[0].upper()}{BOX[1:]}.', said))
    if not is_number(area):
        remedy = 'area must be a number of pixels: that of the mask or, without masks, width * height.'
        records.annotation_faults.append(
            fault('area', 'annotations have an area that is no number', remedy, f'has area {area!r:.60}')
        )
    crowd = record.get('iscrowd')
    if crowd is None:
        records.without_crowd.append(index)
    elif crowd not in (0, 1):
        remedy = 'iscrowd is 0 for an object, 1 for a region of many.'
        records.annotation_faults.append(
            fault(
                'iscrowd', 'annotations have an iscrowd that is neither 0 nor 1', remedy, f'has iscrowd {crowd!r:.60}'
            )
        )
    mask = _read_mask(records, index, record.get('segmentation'), extents, fault)
    if sound and is_number(area):
        if not is_number(given):
            given = None
        ignore = bool(record.get('ignore'))
        records.annotations.append(
            Annotation(index, given, image_id, category_id, tuple(box), area, crowd == 1, ignore, mask)
        )


def _read_mask(
    records: Records, index: int, segmentation: Any, extents: ExtentsReader, fault: Callable[..., Fault]
) -> tuple[int, int] | str | None:
    """Checks a segmentation; returns the ``mask`` of its :class:`Annotation`."""
    if not segmentation:
        return None
    try:
        run_lengths = check_segmentation(segmentation)
    except MaskError as error:
        what = 'annotations have a segmentation that cannot be read as intended'
        remedy = 'Correct or remove them, or use a config without masks.'
        records.mask_faults.append(fault('segmentation', what, remedy, f'has a segmentation that {error}'))
        return 'unsound'
    if run_lengths is None:
        extents.add_polygons(index, segmentation)
        if has_short_parts(segmentation):
            records.short_parts.append(index)
        return 'polygons'
    extents.add_runs(index, run_lengths)
    if text_of_bytes(segmentation['counts']):
        records.counts_of_bytes.append(index)
    return run_lengths.height, run_lengths.width
