"""Checks boxes against the size of their image."""

from collections.abc import Sequence
from typing import Any

from mmconvnext.datasets.coco.records import BOX, Annotation, Image
from mmconvnext.datasets.findings import Findings, Severity

MANY = 0.5  # of the annotations: the result is likely not what the user wants
TOLERANCE = 1.0  # pixels by which a box may leave its image, by rounding


def check_boxes(findings: Findings, path: str, kept: Sequence[Annotation], images: dict[Any, Image]) -> None:
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
