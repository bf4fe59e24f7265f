"""Checks boxes against the size of their image."""

from collections.abc import Sequence
from typing import Any

from mmconvnext.datasets.coco.records import BOX, Annotation, Image
from mmconvnext.datasets.findings import Findings, Severity

MANY = 0.5  # of the annotations: the result is likely not what the user wants
TOLERANCE = 1.0  # pixels by which a box may leave its image, by rounding
LEAST = 3  # a mistake is guessed only if so many boxes leave their image


def check_boxes(findings: Findings, path: str, kept: Sequence[Annotation], images: dict[Any, Image]) -> None:
    """Counts boxes that leave their image, and says if they look like corners, or like centers and sizes.

    Args:
        findings: Gets what was found.
        path: The annotation file.
        kept: The annotations that are learnt or evaluated.
        images: The file's images, by id.
    """
    leaving: list[Annotation] = []
    corners = centers = 0
    for annotation in kept:
        x, y, width, height = annotation.bbox
        image = images[annotation.image_id]
        if not image.width:
            continue
        right, bottom = image.width + TOLERANCE, image.height + TOLERANCE
        if x < -TOLERANCE or y < -TOLERANCE or x + width > right or y + height > bottom:
            leaving.append(annotation)
        corners += x < width <= right and y < height <= bottom
        left, top = x - width / 2, y - height / 2
        centers += left >= -TOLERANCE and top >= -TOLERANCE and left + width <= right and top + height <= bottom
    if not leaving:
        return
    reading, fitting = ('[x1, y1, x2, y2]', corners)
    if centers > corners:
        reading, fitting = ('[center x, center y, width, height]', centers)
    # Correct boxes hardly ever all fit when they are read as something else
    meant = fitting == len(kept) and len(leaving) >= min(LEAST, len(kept))
    many = len(leaving) >= MANY * len(kept) or meant
    remedy = 'They are cut at its border.'
    if many:
        fits = 'fits its image' if fitting == len(kept) else f'fits its image in {fitting} of {len(kept)} cases'
        remedy = f'{BOX[0].upper()}{BOX[1:]}; read as {reading}, each {fits}. Check which of the two yours are.'
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
