"""Checks that a dataset has the masks that it reads, in the size of their images."""

from collections.abc import Sequence
from typing import Any

from mmconvnext.datasets.coco.records import Annotation, Image
from mmconvnext.datasets.coco.use import CocoUse
from mmconvnext.datasets.findings import Findings, Severity

WITHOUT_MASKS = 'configs/detection/faster_rcnn_convnext_t_3x.py or cascade_rcnn_convnext_t_3x.py'


def check_masks(
    findings: Findings, path: str, read: Sequence[Annotation], images: dict[Any, Image], use: CocoUse
) -> None:
    """Reports masks that are missing, of another size than their image, or in a form that the loader ignores.

    Args:
        findings: Gets what was found.
        path: The annotation file.
        read: The annotations whose masks the dataset or its evaluator reads.
        images: The file's images, by id.
        use: How the dataset uses the file.
    """
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
