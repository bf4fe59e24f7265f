"""Counts the annotations and images that MMDetection leaves out."""

from collections.abc import Sequence
from typing import Any

from mmconvnext.datasets.coco.boxes import MANY
from mmconvnext.datasets.coco.records import BOX, Annotation, Image, Records
from mmconvnext.datasets.coco.use import CocoUse
from mmconvnext.datasets.findings import Findings, Severity

CROWD = 'iscrowd=1 marks a region of many objects, which is neither learnt nor evaluated; a single object has 0.'


def find_kept(
    findings: Findings,
    path: str,
    records: Records,
    images: dict[Any, Image],
    classes: set[Any],
    use: CocoUse,
) -> list[Annotation] | None:
    """Counts what CocoDataset leaves out; returns the annotations that it keeps, or None if it keeps none."""
    still = ' The evaluation still counts them as objects to be found.' if use.evaluates else ''
    reasons = {
        'ignored': "are marked 'ignore'",
        'outside': 'have a box outside the image',
        'area-0': 'have an area of 0',
        'below-pixel': 'have a box that is less than a pixel wide or high',
        'other-categories': 'are of categories that are not among the classes',
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
    return kept


def _why_left_out(annotation: Annotation, image: Image, classes: set[Any]) -> str | None:
    """Returns why CocoDataset.parse_data_info drops an annotation, in the order of its checks, or None."""
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
    """Counts the images that CocoDataset.filter_data leaves out; returns the others' ids, or None if none is left."""
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
