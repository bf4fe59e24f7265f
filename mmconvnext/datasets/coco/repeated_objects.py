"""Counts objects that are annotated more than once, under different ids."""

from collections.abc import Sequence

import numpy as np

from mmconvnext.datasets.coco.extents import Extents
from mmconvnext.datasets.coco.records import Annotation
from mmconvnext.datasets.findings import Findings, Severity

FEW = 0.01  # of the annotations: too few to matter


def check_repeated_objects(findings: Findings, path: str, kept: Sequence[Annotation], extents: Extents) -> None:
    """Reports annotations that have the image, category, box and mask of another one.

    Args:
        findings: Gets what was found.
        path: The annotation file.
        kept: The annotations that are learnt or evaluated.
        extents: The extents of the file's masks. Masks of the same extent and area are taken for the same.
    """
    first: dict[tuple, Annotation] = {}
    repeated = []
    for annotation in kept:
        key = annotation.image_id, annotation.category_id, annotation.bbox
        other = first.setdefault(key, annotation)
        if other is not annotation and not annotation.crowd and _same_mask(extents, other, annotation):
            repeated.append((other, annotation))
    if not repeated:
        return
    finding = findings.add(
        'objects-repeated',
        Severity.CHANGES if len(repeated) >= FEW * len(kept) else Severity.HARMLESS,
        path,
        'annotations have the image, category, box and mask of another one, but another id',
        'Each counts as an object of its own, and an evaluation counts all but one as missed. List each object once.',
        count=len(repeated),
        total=len(kept),
    )
    finding.examples = [f'{annotation} repeats annotations[{other.place}]' for other, annotation in repeated[:3]]


def _same_mask(extents: Extents, one: Annotation, other: Annotation) -> bool:
    return all(
        np.array_equal(values[one.place], values[other.place], equal_nan=True)
        for values in (extents.boxes, extents.areas)
    )
