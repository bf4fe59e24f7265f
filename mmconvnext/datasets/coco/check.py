"""Checks the content of a COCO annotation file: what MMDetection would leave out or trip over in mid-training."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mmconvnext.datasets.coco.file_names import find_images
from mmconvnext.datasets.coco.mending import Mends
from mmconvnext.datasets.coco.reading import UnreadableError, garbage_collection_paused
from mmconvnext.datasets.coco.records import BOX, Annotation, Fault, Image, Records, read_records
from mmconvnext.datasets.coco.references import check_references
from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.listing import contents, first_few, is_remote

WITHOUT_MASKS = 'configs/detection/faster_rcnn_convnext_t_3x.py or cascade_rcnn_convnext_t_3x.py'
CROWD = 'iscrowd=1 marks a region of many objects, which is neither learnt nor evaluated; a single object has 0.'
MANY = 0.5  # of the annotations left out: the result is likely not what the user wants
TOLERANCE = 1.0  # pixels by which a box may leave its image, by rounding


@dataclass(frozen=True)
class CocoUse:
    """How a dataset of the config uses an annotation file.

    Args:
        dataset: A ``CocoDataset`` that has not loaded anything yet; None where an evaluator alone reads the file.
        name: What the config calls it, such as ``train_dataloader.dataset``.
        needs_masks: Whether the loader reads the ``segmentation`` of what it keeps.
        evaluates: Whether the file is the truth of an evaluation.
        evaluates_masks: Whether this evaluation reads every ``segmentation``.
        needs_annotations: Whether there is something to learn or evaluate; a test that only writes results needs none.
        reads_run_lengths: Whether the loader reads masks in run lengths; it ignores them with ``poly2mask=False``.
        how_to_set_classes: Says, given class names, which lines of a config set them.
    """

    dataset: Any
    name: str
    needs_masks: bool
    evaluates: bool
    evaluates_masks: bool
    needs_annotations: bool
    reads_run_lengths: bool
    how_to_set_classes: Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class CheckedFile:
    """What a check leaves.

    Args:
        image_ids: Of the file's images.
        mends: What a sound copy of the file needs.
        images: Path, width, height and place in the file of each image, by the name of the use. Sizes are in pixels,
            and None where the file has none that is sound.
    """

    image_ids: frozenset[Any]
    mends: Mends
    images: dict[str, list[tuple[str, int | None, int | None, str]]]


@garbage_collection_paused()
def check_coco(findings: Findings, path: str, uses: Sequence[CocoUse]) -> CheckedFile | None:
    """Checks an annotation file, and that its images are there.

    Args:
        findings: Gets what was found.
        path: The file.
        uses: Of it, at least one.

    Returns:
        What it leaves; None where the file cannot be read.
    """
    try:
        records = read_records(
            path,
            needs_annotations=any(use.needs_annotations for use in uses),
            needs_masks=any(use.needs_masks or use.evaluates_masks for use in uses),
        )
    except UnreadableError as error:
        findings.add('unreadable', Severity.REFUSES, path, error.what, error.remedy, count=0)
        return None
    evaluated = any(use.evaluates for use in uses)
    if records.mends.encoding:
        what = f'is written as {records.mends.encoding}, with a byte order mark or in two bytes a letter'
        findings.add('encoding', Severity.MENDED, path, what, 'It is read as if saved as plain UTF-8.', count=0)
    if records.sizes_with_point:
        records.mends.whole_numbers = True
        findings.add(
            'image-sizes-with-point',
            Severity.MENDED,
            path,
            'images have a size with a decimal point, such as 96.0',
            'It is read as the whole number.',
            count=len(set(records.sizes_with_point)),
            example=f'images[{records.sizes_with_point[0]}]',
            total=records.count['images'],
        )
    _add_faults(findings, path, records, records.faults)
    check_references(findings, path, records, evaluated=evaluated)
    listed = {image.id for image in records.images}
    _add_faults(findings, path, records, (f for f in records.annotation_faults if f.image_id in listed))
    _check_crowd_field(findings, path, records, evaluated=evaluated)
    images: dict[str, list[tuple[str, int | None, int | None, str]]] = {}
    labels: set[str] = set()
    unsound_masks: set[int] = set()
    for use in uses:
        # The same findings of a second dataset that reads the file must not be added to those of the first
        label = path if path not in labels else f'{path} ({use.name})'
        labels.add(label)
        unsound_masks |= _check_use(findings, label, records, use, uses)
        if use.dataset is not None and not is_remote(_prefix(use), use.dataset.backend_args):
            images[use.name] = _check_images(findings, label, records, use)
    _add_faults(findings, path, records, (f for f in records.mask_faults if f.place in unsound_masks))
    return CheckedFile(frozenset(listed), records.mends, images)


def _add_faults(findings: Findings, path: str, records: Records, faults: Iterable[Fault]) -> None:
    for fault in faults:
        total = records.count[fault.where.partition('[')[0]]
        findings.add(fault.kind, Severity.REFUSES, path, fault.what, fault.remedy, example=fault.where, total=total)


def _check_crowd_field(findings: Findings, path: str, records: Records, *, evaluated: bool) -> None:
    if not records.without_crowd:
        return
    records.mends.crowd = evaluated  # the loader takes it for 0 by itself, and pycocotools raises
    findings.add(
        'iscrowd-missing',
        Severity.MENDED,
        path,
        'annotations have no iscrowd',
        'It is read as 0, a single object.',
        count=len(records.without_crowd),
        example=f'annotations[{records.without_crowd[0]}]',
        total=records.count['annotations'],
    )


def _check_use(findings: Findings, path: str, records: Records, use: CocoUse, uses: Sequence[CocoUse]) -> set[int]:
    """Checks what a dataset makes of the records; returns which annotations' masks are unsound and read."""
    if use.dataset is None:
        classes: set[Any] | None = {category.id for category in records.categories}
    else:
        classes = _check_classes(findings, path, records, use, uses)
    if classes is None or not use.needs_annotations or (not records.annotations and findings.refuses):
        return set()
    images = {image.id: image for image in records.images}
    of_classes = [annotation for annotation in records.annotations if annotation.category_id in classes]
    kept = _kept(findings, path, records, images, classes, use)
    if kept is None:
        return set()
    if not use.needs_masks and not use.evaluates_masks:
        return set()
    read = of_classes if use.evaluates_masks else kept
    _check_masks(findings, path, read, images, use)
    short = sorted({annotation.place for annotation in read}.intersection(records.short_parts))
    if short:
        records.mends.short_parts |= use.evaluates_masks
        findings.add(
            'polygons-short',
            Severity.LEFT_OUT,
            path,
            'annotations have polygons of less than three points beside sound ones',
            'These polygons are left out.',
            count=len(short),
            example=f'annotations[{short[0]}]',
            total=len(read),
        )
    return {annotation.place for annotation in read if annotation.mask == 'unsound'}


def _first_repeated(values: Sequence[Any]) -> Any:
    return next((value for index, value in enumerate(values) if value in values[:index]), None)


def _check_classes(
    findings: Findings, path: str, records: Records, use: CocoUse, uses: Sequence[CocoUse]
) -> set[Any] | None:
    """Compares categories with the classes of the dataset; returns the ids of those that are, or None."""
    categories = records.categories
    names = [category.name for category in categories]
    classes = use.dataset.metainfo.get('classes')

    def remedy(right: Sequence[str]) -> str:
        lines = f'\n{use.how_to_set_classes(right)}'
        # They are of the whole config, so the same lines are said of the first file only
        return 'The remedy is the same.' if any(lines == finding.remedy for finding in findings) else lines

    if classes is None:
        findings.add('classes-unset', Severity.REFUSES, use.name, 'has no classes', remedy(names), count=0)
        return None
    repeated = _first_repeated(classes)
    unknown = [name for name in classes if name not in names]
    in_order = list(dict.fromkeys(name for name in names if name in classes))
    if repeated is not None:
        what = f'lists the class {repeated!r} twice'
        findings.add('classes-repeated', Severity.REFUSES, use.name, what, 'Name each once.', count=0)
        return None
    if unknown:
        what = (
            f'has other classes than {use.name} expects.\n'
            f'    expected but not in the file: {first_few(unknown, 10)}\n'
            f'    categories of the file: {first_few(names, 10)}\n'
            'MMDetection matches them by name, and would silently drop or mislabel the annotations'
        )
        findings.add('classes-unknown', Severity.REFUSES, path, what, remedy(names), count=0)
        return None
    if in_order != list(classes):
        order = [*classes, *(name for name in names if name not in classes)]
        others = [other.name for other in uses if not _keeps_classes_in_order(order, other)]
        if others:
            what = (
                f'is read with the classes in different orders by {use.name} and {first_few(others)}. MMDetection numbers '
                'them in the order of the file, so pictures and predictions would have wrong names'
            )
            findings.add('classes-order', Severity.REFUSES, path, what, remedy(in_order), count=0)
            return None
        records.mends.class_order = order
        what = f'lists its categories in another order than {use.name}, and MMDetection numbers them as the file does'
        findings.add(
            'categories-order', Severity.MENDED, path, what, 'They are read in the order of the config.', count=0
        )
    return {category.id for category in categories if category.name in classes}


def _keeps_classes_in_order(order: Sequence[str], use: CocoUse) -> bool:
    """Whether a file with its categories in this order numbers the classes of a dataset as its config does."""
    classes = use.dataset.metainfo.get('classes') if use.dataset is not None else None
    return classes is None or [name for name in order if name in classes] == [n for n in classes if n in order]


def _kept(
    findings: Findings,
    path: str,
    records: Records,
    images: dict[Any, Image],
    classes: set[Any],
    use: CocoUse,
) -> list[Annotation] | None:
    """Counts what CocoDataset leaves out; returns the annotations that it keeps, or None if that is none."""
    still = ' The evaluation still counts them as objects to be found.' if use.evaluates else ''
    reasons = {
        'ignored': "are marked 'ignore'",
        'outside': 'have a box outside the image',
        'area-0': 'have an area of 0',
        'below-pixel': 'have a box that is less than a pixel wide or high',
        'other-categories': 'are of categories that are none of the classes',
    }
    dropped: dict[str, list[Annotation]] = {reason: [] for reason in reasons}
    kept = []
    for annotation in records.annotations:
        reason = _why_left_out(annotation, images[annotation.image_id], classes)
        if reason:
            dropped[reason].append(annotation)
        else:
            kept.append(annotation)
    total = records.count['annotations']
    said = []
    for reason, left in dropped.items():
        if not left:
            continue
        said.append(f'{len(left)} {reasons[reason]}')
        # Annotations of other categories are what a choice of classes is meant to leave out
        many = len(left) >= MANY * total and reason != 'other-categories'
        severity = Severity.CHANGES if many else Severity.LEFT_OUT
        remedy = 'They are left out.' + (still if reason != 'other-categories' else '')
        finding = findings.add(
            f'annotations-{reason}',
            severity,
            path,
            f'annotations {reasons[reason]}',
            remedy,
            count=len(left),
            total=total,
        )
        finding.examples = [f'{annotation} has bbox {list(annotation.bbox)}' for annotation in left[:2]]
    learnt = _check_image_filters(findings, path, records, use, classes)
    if learnt is None:
        return None
    kept = [annotation for annotation in kept if annotation.image_id in learnt]
    if not kept:
        if not findings.refuses:
            unlisted = total - len(records.annotations)
            said += [f'{unlisted} are of images that the file does not list'] if unlisted else []
            said += ['the others are of images that are left out'] if not said else []
            fractions = bool(records.annotations) and all(
                max(annotation.bbox) <= 1 for annotation in records.annotations
            )
            hint = ' These look like fractions of the image: multiply them by its size.' if fractions else ''
            what = f'has no annotation that can be used: of {total}, {", ".join(said)}'
            remedy = f'{BOX[0].upper()}{BOX[1:]}.{hint}'
            findings.add('nothing-left', Severity.REFUSES, path, what, remedy, count=0)
        return None
    _check_crowds(findings, path, kept, use)
    _check_boxes(findings, path, kept, images)
    return kept


def _why_left_out(annotation: Annotation, image: Image, classes: set[Any]) -> str | None:
    """What CocoDataset.parse_data_info drops an annotation for, in its order."""
    x, y, width, height = annotation.bbox
    if annotation.ignore:
        return 'ignored'
    if annotation.category_id not in classes:
        return 'other-categories'
    if width < 1 or height < 1:
        return 'below-pixel'
    if annotation.area <= 0:
        return 'area-0'
    if image.width and (min(x + width, image.width) <= max(x, 0) or min(y + height, image.height) <= max(y, 0)):
        return 'outside'
    return None


def _check_image_filters(
    findings: Findings, path: str, records: Records, use: CocoUse, classes: set[Any]
) -> set[Any] | None:
    """Counts the images that CocoDataset.filter_data leaves out; returns the others' ids, or None if there is none."""
    images = records.images
    settings = None if use.dataset is None or use.dataset.test_mode else use.dataset.filter_cfg
    if not settings:
        return {image.id for image in images}
    least = settings.get('min_size', 0)
    small = [image for image in images if image.width and min(image.width, image.height) < least]
    option = f'Add --cfg-options {use.name}.filter_cfg.min_size=1 to use them.'
    if small:
        first = small[0]
        severity = Severity.CHANGES if len(small) >= MANY * len(images) else Severity.LEFT_OUT
        severity = Severity.REFUSES if len(small) == len(images) else severity
        findings.add(
            'images-small',
            severity,
            path,
            f'images have a side below {least} pixels, and {use.name}.filter_cfg.min_size={least} leaves them out',
            option,
            count=len(small),
            example=f'images[{first.place}] ({first.file_name}, {first.width}x{first.height})',
            total=len(images),
        )
    if len(small) == len(images):
        return None
    left = {image.id for image in images}.difference(image.id for image in small)
    if settings.get('filter_empty_gt', False):
        empty = left.difference(a.image_id for a in records.annotations if a.category_id in classes)
        if empty:
            severity = Severity.CHANGES if len(empty) >= MANY * len(images) else Severity.LEFT_OUT
            example = next(image for image in images if image.id in empty)
            findings.add(
                'images-empty',
                severity,
                path,
                f'images have no annotation of the classes, and {use.name}.filter_cfg.filter_empty_gt leaves them out',
                count=len(empty),
                example=f'images[{example.place}] ({example.file_name})',
                total=len(images),
            )
        left -= empty
    return left


def _check_crowds(findings: Findings, path: str, kept: Sequence[Annotation], use: CocoUse) -> None:
    crowds = [annotation for annotation in kept if annotation.crowd]
    if not crowds:
        return
    severity = Severity.CHANGES if len(crowds) >= MANY * len(kept) else Severity.LEFT_OUT
    if len(crowds) == len(kept):
        severity = Severity.REFUSES
    findings.add(
        'crowds',
        severity,
        path,
        'annotations are crowds',
        CROWD,
        count=len(crowds),
        example=str(crowds[0]),
        total=len(kept),
    )


def _check_boxes(findings: Findings, path: str, kept: Sequence[Annotation], images: dict[Any, Image]) -> None:
    """Counts boxes that leave their image; says what they look like if they are corners."""
    leaving: list[Annotation] = []
    corners = 0
    for annotation in kept:
        x, y, width, height = annotation.bbox
        image = images[annotation.image_id]
        if not image.width:
            continue
        right, bottom = image.width + TOLERANCE, image.height + TOLERANCE
        if x < -TOLERANCE or y < -TOLERANCE or x + width > right or y + height > bottom:
            leaving.append(annotation)
        corners += x < width <= right and y < height <= bottom
    if not leaving:
        return
    many = len(leaving) >= MANY * len(kept) or corners == len(kept)
    remedy = 'They are cut at its border.'
    if many:
        fits = 'fits its image' if corners == len(kept) else f'fits its image in {corners} of {len(kept)} cases'
        remedy = f'{BOX[0].upper()}{BOX[1:]}; read as [x1, y1, x2, y2], each {fits}. See which of the two these are.'
    finding = findings.add(
        'boxes-leaving',
        Severity.CHANGES if many else Severity.HARMLESS,
        path,
        'boxes leave their image by more than a pixel',
        remedy,
        count=len(leaving),
        total=len(kept),
    )
    for annotation in leaving[:2]:
        image = images[annotation.image_id]
        finding.examples.append(
            f'{annotation} has bbox {list(annotation.bbox)} in an image of {image.width}x{image.height}'
        )


def _check_masks(
    findings: Findings, path: str, read: Sequence[Annotation], images: dict[Any, Image], use: CocoUse
) -> None:
    without = [annotation for annotation in read if annotation.mask is None]
    if without:
        remedy = f'Use a config without masks: {WITHOUT_MASKS}'
        remedy += '.' if len(without) == len(read) else ', or add their polygons, or remove them.'
        what = 'annotations have no segmentation, and this config trains or evaluates masks'
        findings.add(
            'segmentation-missing',
            Severity.REFUSES,
            path,
            what,
            remedy,
            count=len(without),
            example=str(without[0]),
            total=len(read),
        )
    ignored = 0
    for annotation in read:
        if not isinstance(annotation.mask, tuple):
            continue
        ignored += not annotation.crowd
        image = images[annotation.image_id]
        if image.width and annotation.mask != (image.height, image.width):
            swapped = annotation.mask == (image.width, image.height)
            findings.add(
                'mask-size',
                Severity.REFUSES,
                path,
                'run-length masks have another size than their image',
                'size must be [height, width] of the image, and counts run down the columns'
                + (': here the two are swapped.' if swapped else '.'),
                example=f'{annotation} has size {list(annotation.mask)}, its image [{image.height}, {image.width}]',
                total=len(read),
            )
    if ignored and use.needs_masks and not use.reads_run_lengths:
        findings.add(
            'run-lengths-ignored',
            Severity.REFUSES if ignored == len(read) else Severity.CHANGES,
            path,
            'annotations have masks in run lengths, and poly2mask=False of LoadAnnotations leaves these out',
            'Take poly2mask=False out of the pipeline.',
            count=ignored,
            total=len(read),
        )


def _prefix(use: CocoUse) -> str:
    return use.dataset.data_prefix.get('img') or ''


def _check_images(
    findings: Findings, path: str, records: Records, use: CocoUse
) -> list[tuple[str, int | None, int | None, str]]:
    """Looks for the images; returns path, width, height and place of those that are there."""
    folder = _prefix(use)
    missing, found = find_images(folder, [image.file_name for image in records.images])
    names = {index: image.file_name for index, image in enumerate(records.images)}
    for (short, what), spelled in found.items():
        names |= spelled
        records.mends.file_names |= {records.images[index].place: name for index, name in spelled.items()}
        index, name = next(iter(spelled.items()))
        findings.add(
            f'file-names-{short}',
            Severity.MENDED,
            path,
            f'names of images {what}',
            count=len(spelled),
            example=f'images[{records.images[index].place}] is {records.images[index].file_name!r}, read as {name!r}',
            total=len(names),
        )
    if missing:
        first = os.path.join(folder, records.images[missing[0]].file_name)
        place = folder or os.path.dirname(first) or '.'
        there = contents(place) if os.path.isdir(place) else 'is not there'
        finding = findings.add(
            'images-missing',
            Severity.REFUSES,
            path,
            'images are not there',
            f'The folder {place} {there}. Its path is data_root and data_prefix of {use.name}; what follows is the '
            "file's file_name.",
            count=len(missing),
            total=len(names),
        )
        finding.examples = [os.path.join(folder, records.images[index].file_name) for index in missing[:3]]
    absent = set(missing)
    return [
        (os.path.join(folder, names[at]), image.width or None, image.height or None, f'images[{image.place}]')
        for at, image in enumerate(records.images)
        if at not in absent
    ]
