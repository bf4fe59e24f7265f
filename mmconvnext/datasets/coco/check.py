"""Checks the content of a COCO annotation file: what MMDetection would leave out, and what would stop a training."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mmconvnext.datasets.coco.areas import check_areas
from mmconvnext.datasets.coco.boxes import check_boxes
from mmconvnext.datasets.coco.classes import check_classes
from mmconvnext.datasets.coco.images import check_images, image_folder
from mmconvnext.datasets.coco.left_out import find_kept
from mmconvnext.datasets.coco.mask_fit import check_mask_fit
from mmconvnext.datasets.coco.masks import check_masks
from mmconvnext.datasets.coco.mending import Mends
from mmconvnext.datasets.coco.reading import UnreadableError, garbage_collection_paused
from mmconvnext.datasets.coco.records import Fault, Records, read_records
from mmconvnext.datasets.coco.references import check_references
from mmconvnext.datasets.coco.repeated_objects import check_repeated_objects
from mmconvnext.datasets.coco.use import CocoUse
from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.listing import is_remote


@dataclass(frozen=True)
class CheckedFile:
    """The outcome of the check of a file.

    Args:
        image_ids: The ids of the file's images.
        mends: The changes that a corrected copy of the file needs.
        images: Path, width, height and place in the file of each image, by the name of the use. Sizes are in pixels,
            and None where the file has no sound one.
    """

    image_ids: frozenset[Any]
    mends: Mends
    images: dict[str, list[tuple[str, int | None, int | None, str]]]


@garbage_collection_paused()
def check_coco(findings: Findings, path: str, uses: Sequence[CocoUse]) -> CheckedFile | None:
    """Checks an annotation file, and that its images exist.

    Args:
        findings: Gets what was found.
        path: The file.
        uses: The uses of the file, at least one.

    Returns:
        The outcome; None if the file cannot be read.
    """
    try:
        records = read_records(
            path,
            needs_annotations=any(use.needs_annotations for use in uses),
        )
    except UnreadableError as error:
        findings.add('unreadable', Severity.REFUSES, path, error.what, error.remedy, count=0)
        return None
    evaluated = any(use.evaluates for use in uses)
    if records.mends.encoding:
        what = f'is encoded as {records.mends.encoding}: with a byte-order mark, or with two bytes per character'
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
        if use.dataset is not None and not is_remote(image_folder(use), use.dataset.backend_args):
            images[use.name] = check_images(findings, label, records, use)
    if records.counts_of_bytes and any(use.needs_masks or use.evaluates_masks for use in uses):
        records.mends.counts_of_bytes = True
        findings.add(
            'counts-of-bytes',
            Severity.MENDED,
            path,
            "annotations have counts of a run-length mask that are written as Python prints bytes, b'...'",
            'They are read without the b and the quotation marks; write counts.decode() instead of str(counts).',
            count=len(records.counts_of_bytes),
            example=f'annotations[{records.counts_of_bytes[0]}]',
            total=records.count['annotations'],
        )
    _add_faults(findings, path, records, (f for f in records.mask_faults if f.place in unsound_masks))
    return CheckedFile(frozenset(listed), records.mends, images)


def _add_faults(findings: Findings, path: str, records: Records, faults: Iterable[Fault]) -> None:
    for fault in faults:
        total = records.count[fault.where.partition('[')[0]]
        findings.add(fault.kind, Severity.REFUSES, path, fault.what, fault.remedy, example=fault.where, total=total)


def _check_crowd_field(findings: Findings, path: str, records: Records, *, evaluated: bool) -> None:
    if not records.without_crowd:
        return
    records.mends.crowd = evaluated  # the loader takes it for 0 by itself, but pycocotools raises an error
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
    """Checks what a dataset makes of the records; returns indices of annotations whose unsound masks it reads."""
    if use.dataset is None:
        classes: set[Any] | None = {category.id for category in records.categories}
    else:
        classes = check_classes(findings, path, records, use, uses)
    if classes is None or not use.needs_annotations or (not records.annotations and findings.refuses):
        return set()
    images = {image.id: image for image in records.images}
    of_classes = [annotation for annotation in records.annotations if annotation.category_id in classes]
    kept = find_kept(findings, path, records, images, classes, use)
    if kept is None:
        return set()
    reads_masks = use.needs_masks or use.evaluates_masks
    fit = check_mask_fit(findings, path, kept, images, records.extents, reads_masks=reads_masks)
    if not fit.boxes_are_wrong:
        check_boxes(findings, path, kept, images)
    sound = [annotation for annotation in kept if annotation.place not in fit.places]
    check_areas(findings, path, sound, images, records.extents, evaluated=use.evaluates)
    check_repeated_objects(findings, path, kept, records.extents)
    if not reads_masks:
        return set()
    read = of_classes if use.evaluates_masks else kept
    check_masks(findings, path, read, images, use)
    short = sorted({annotation.place for annotation in read}.intersection(records.short_parts))
    if short:
        records.mends.short_parts |= use.evaluates_masks
        findings.add(
            'polygons-short',
            Severity.LEFT_OUT,
            path,
            'annotations have polygons of fewer than three points beside sound ones',
            'These polygons are left out.',
            count=len(short),
            example=f'annotations[{short[0]}]',
            total=len(read),
        )
    return {annotation.place for annotation in read if annotation.mask == 'unsound'}
