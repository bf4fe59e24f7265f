"""Compares each annotation's ``area`` with its mask and box: by it pycocotools tells small objects from large ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmconvnext.datasets.coco.extents import Extents
from mmconvnext.datasets.coco.records import Annotation, Image
from mmconvnext.datasets.findings import Findings, Severity

SIZES = (32**2, 96**2)  # areas where pycocotools separates small, medium and large objects
FACTOR = 2.0  # an area may differ by this from the mask or box: polygons are not exact, and parts may overlap
SLACK = 10.0  # pixels by which an area may differ besides, for the smallest objects
THINNEST = 0.01  # share of its box that an object without a mask must fill at least
ALIKE = 0.1  # relative difference between values that are taken for the same
NEARLY_ALL = 0.9
FEW = 0.01  # of the annotations: too few to matter
ENOUGH = 10  # this many annotations do not have the same factor by chance


def check_areas(
    findings: Findings,
    path: str,
    kept: Sequence[Annotation],
    images: dict[Any, Image],
    extents: Extents,
    *,
    evaluated: bool,
) -> None:
    """Reports areas that are far from both the mask's and the box's.

    Args:
        findings: Gets what was found.
        path: The annotation file.
        kept: The annotations that are learnt or evaluated, whose box fits their mask.
        images: The file's images, by id.
        extents: The extents of the file's masks.
        evaluated: Whether the file is the truth of an evaluation. A training only reads whether an area is above 0.
    """
    objects = [annotation for annotation in kept if not annotation.crowd]
    if not objects:
        return
    areas = np.array([annotation.area for annotation in objects], np.float64)
    of_boxes = np.array([annotation.bbox[2:] for annotation in objects], np.float64).prod(1)
    of_masks = extents.areas[[annotation.place for annotation in objects]].astype(np.float64)
    known = ~np.isnan(of_masks)
    true = np.where(known, of_masks, of_boxes)
    ratio = areas / np.maximum(true, 1)
    factor = float(np.median(ratio))
    same = np.abs(ratio - factor) <= ALIKE * factor
    low = np.where(known, np.minimum(true, of_boxes) / FACTOR - SLACK, THINNEST * of_boxes)
    far = (areas < low) | (areas > np.maximum(true, of_boxes) * FACTOR + SLACK)
    if not 1 / FACTOR <= factor <= FACTOR and same.sum() >= max(NEARLY_ALL * len(objects), ENOUGH):
        far |= same & ~known
    if not far.any():
        return
    moved = int((np.digitize(areas, SIZES) != np.digitize(true, SIZES))[far].sum())
    matters = evaluated and moved >= FEW * len(objects)
    sizes = np.array([images[annotation.image_id][-2:] for annotation in objects], np.float64).prod(1)

    def most(fitting: np.ndarray) -> bool:
        return bool(fitting[far].sum() >= NEARLY_ALL * far.sum())

    looks = ''
    if most(areas == areas[far][0]) and far.sum() > 1:
        looks = f' All are {areas[far][0]:g}.'
    elif most(np.abs(areas * sizes - true) <= FACTOR * ALIKE * true):
        looks = ' They look like fractions of the image.'
    elif most(same):
        looks = f' They are {factor:.3g} times that.'
    finding = findings.add(
        'areas',
        Severity.CHANGES if matters else Severity.HARMLESS,
        path,
        'annotations have an area that is far from that of their mask and of their box',
        f'area is the number of pixels of the mask, or width * height of a box without a mask.{looks} '
        + (
            f'AP of small, medium and large objects puts {moved} into a wrong size.'
            if evaluated
            else 'Training does not use it.'
        ),
        count=int(far.sum()),
        total=len(objects),
    )
    for index in np.flatnonzero(far)[:2]:
        of = 'mask' if known[index] else 'box'
        finding.examples.append(f'{objects[index]} has area {objects[index].area:g}, its {of} has {true[index]:.6g}')
