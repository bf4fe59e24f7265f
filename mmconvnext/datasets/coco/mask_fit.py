"""Compares each annotation's box with the extent of its mask, and says which known mistake explains a difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmconvnext.datasets.coco.extents import Extents
from mmconvnext.datasets.coco.records import BOX, Annotation, Image
from mmconvnext.datasets.findings import Findings, Severity

CLOSE = 2.0  # pixels by which the sides of a box and of its mask may differ, by rounding or by drawing by hand
APART = 0.5  # if a smaller share of the mask lies in the box, the two are taken for two objects
DIFFERENT = 0.5  # with less intersection over union, a box is likely wrong
ALIKE = 0.8  # a mistake explains a difference if undoing it gives at least this intersection over union
LEAST = 3  # a mistake must explain this many annotations, or it is taken for chance
FEW = 0.01  # of the annotations: too few to matter
NEARLY_ALL = 0.9


@dataclass(frozen=True)
class MaskFit:
    """What a comparison of boxes and masks found.

    Args:
        boxes_are_wrong: Whether a known mistake in the boxes explains most differences.
        places: The indices of the annotations whose box does not fit their mask.
    """

    boxes_are_wrong: bool
    places: frozenset[int]


AGREE = MaskFit(False, frozenset())


@dataclass(frozen=True)
class Cause:
    """A mistake that people make.

    Args:
        name: A short name.
        fits: Whether each pair of box and mask would agree without it.
        when: Completes the sentence "they agree if ...".
        remedy: What to do, as a sentence.
        in_boxes: Whether the boxes are wrong. Otherwise the masks are, or either may be.
    """

    name: str
    fits: np.ndarray
    when: str
    remedy: str
    in_boxes: bool = False


def check_mask_fit(
    findings: Findings,
    path: str,
    kept: Sequence[Annotation],
    images: dict[Any, Image],
    extents: Extents,
    *,
    reads_masks: bool,
) -> MaskFit:
    """Compares boxes with masks.

    Args:
        findings: Gets what was found.
        path: The annotation file.
        kept: The annotations that are learnt or evaluated.
        images: The file's images, by id.
        extents: The extents of the file's masks.
        reads_masks: Whether masks are learnt or evaluated. If not, only mistakes in the boxes are reported.

    Returns:
        What is wrong, even if it is not reported.
    """
    measured = ~np.isnan(extents.areas)
    compared = [annotation for annotation in kept if measured[annotation.place]]
    if not compared:
        return AGREE
    boxes = np.array([annotation.bbox for annotation in compared], np.float64)
    boxes[:, 2:] += boxes[:, :2]
    places = np.array([annotation.place for annotation in compared])
    masks = extents.boxes[places].astype(np.float64)
    sizes = np.array([images[annotation.image_id][-2:] for annotation in compared], np.float64)
    sizes[sizes.min(1) == 0] = np.inf  # another finding reports unsound sizes
    apart = np.abs(_cut(boxes, sizes) - _cut(masks, sizes)).max(1) > CLOSE
    overlap, inside = _overlap(_cut(boxes, sizes), _cut(masks, sizes))
    different = apart & (overlap < DIFFERENT)
    if not different.any():
        return AGREE
    causes = _causes(boxes[apart], masks[apart], sizes[apart], extents, places, apart)
    cause = max(causes, key=lambda cause: (cause.fits & different[apart]).sum())
    fits = np.zeros_like(apart)
    fits[apart] = cause.fits & (overlap[apart] < ALIKE)
    fitting = int((fits & different).sum())
    known = fitting >= max(DIFFERENT * different.sum(), LEAST)
    # A mask may be smaller than its box, such as that of a partly hidden object, unless a mistake explains it
    wrong = different & (inside < APART)
    if known:
        wrong |= fits
    count = int(wrong.sum())
    fit = MaskFit(known and cause.in_boxes, frozenset(places[wrong].tolist()))
    if not count or not (reads_masks or fit.boxes_are_wrong):
        return fit
    severity = Severity.CHANGES if count >= FEW * len(compared) else Severity.HARMLESS
    if known and count >= NEARLY_ALL * len(compared) and fits.sum() >= NEARLY_ALL * count:
        severity = Severity.REFUSES
    remedy = 'Each annotation needs the mask of its own object, in pixels of its image.'
    if known:
        remedy = f'{"They" if fits.sum() == count else "Most of them"} agree if {cause.when}. {cause.remedy}'
    finding = findings.add(
        f'masks-{cause.name}' if known and not cause.in_boxes else cause.name if known else 'masks-elsewhere',
        severity,
        path,
        'annotations have a bbox that is not the box around their segmentation',
        remedy,
        count=count,
        total=len(compared),
    )
    for index in np.flatnonzero(wrong)[:2]:
        annotation, (left, top, right, bottom) = compared[index], masks[index]
        around = ', '.join(f'{value:.5g}' for value in (left, top, right - left, bottom - top))
        finding.examples.append(f'{annotation} has bbox {list(annotation.bbox)}, the box around its mask is [{around}]')
    return fit


def _causes(
    boxes: np.ndarray,
    masks: np.ndarray,
    sizes: np.ndarray,
    extents: Extents,
    places: np.ndarray,
    apart: np.ndarray,
) -> list[Cause]:
    """Tries every known mistake on boxes and masks that are apart; ``places`` are those of all that were compared."""

    def fits(masks: np.ndarray, boxes: np.ndarray = boxes) -> np.ndarray:
        return _overlap(_cut(boxes, sizes), _cut(masks, sizes))[0] >= ALIKE

    def of_other(step: int) -> np.ndarray:
        others = np.roll(places, -step)[apart]
        return extents.boxes[others].astype(np.float64)

    corner, side = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    scale = np.median((masks[:, 2:] - masks[:, :2]) / side, axis=0)
    scale = np.where(scale > 0, scale, 1)
    alike = abs(scale[0] - scale[1]) <= 0.02 * scale[0]
    times = f'{scale[0]:.4g}' if alike else f'{scale[0]:.4g} across and {scale[1]:.4g} down'
    whole = np.where(np.isfinite(sizes), sizes, 0)
    pixels = 'Write polygons as x1, y1, x2, y2, ... in pixels of the image.'
    box = f'{BOX[0].upper()}{BOX[1:]}, where x and y are the top left corner.'
    own = 'Give each annotation the mask of its own object.'
    return [
        Cause('boxes-are-corners', fits(masks, np.hstack([corner, side])), 'bbox is [x1, y1, x2, y2]', box, True),
        Cause(
            'boxes-are-centered',
            fits(masks, np.hstack([corner - side / 2, corner + side / 2])),
            'bbox is [center x, center y, width, height]',
            box,
            True,
        ),
        Cause(
            'swapped',
            fits(masks[:, [1, 0, 3, 2]]),
            'x and y of one of the two are swapped',
            'Write x before y in both.',
        ),
        Cause(
            'in-fractions',
            fits(masks * np.tile(whole, 2)),
            "the polygons are fractions of the image's width and height",
            pixels,
        ),
        Cause(
            'in-percent',
            fits(masks * np.tile(whole, 2) / 100),
            "the polygons are percentages of the image's width and height",
            pixels,
        ),
        Cause(
            'from-box-corner',
            fits(masks + np.tile(corner, 2)),
            'the masks are measured from the top left corner of their box',
            pixels,
        ),
        Cause(
            'by-rows',
            fits(extents.boxes_by_rows[places[apart]].astype(np.float64)),
            'the counts run along the rows',
            'Counts run down the columns: encode np.asfortranarray(mask) with pycocotools.',
        ),
        Cause('of-next-annotation', fits(of_other(1)), 'each annotation takes the mask of the one after it', own),
        Cause('of-previous-annotation', fits(of_other(-1)), 'each annotation takes the mask of the one before it', own),
        Cause(
            'scaled',
            fits(masks / np.tile(scale, 2)),
            f'the masks are divided by {times}',
            'Save boxes and masks for the same size of the image, the width and height in the file.',
        ),
    ]


def _cut(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Cuts corner boxes, of shape (n, 4), at the borders of images, of shape (n, 2): width and height."""
    return np.clip(boxes, 0, np.tile(sizes, 2))


def _overlap(boxes: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intersection over union of corner boxes, and the share of the second that lies in the first, each of shape (n,).

    Both are taken a pixel larger on each side, so that thin ones have an area.
    """
    low = np.maximum(boxes[:, :2], masks[:, :2]) - 1
    high = np.minimum(boxes[:, 2:], masks[:, 2:]) + 1
    shared = np.clip(high - low, 0, None).prod(1)
    area_of_boxes, area_of_masks = (np.abs(b[:, 2:] - b[:, :2] + 2).prod(1) for b in (boxes, masks))
    return shared / (area_of_boxes + area_of_masks - shared), shared / area_of_masks
