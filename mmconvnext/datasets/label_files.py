"""Reads label maps as they are stored, and reports files that are none: pictures, colours, fractions, JPEG, arrays."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.image_damage import UNREADABLE
from mmconvnext.datasets.image_files import read_header
from mmconvnext.datasets.image_map_pairs import ARRAYS


@dataclass(frozen=True)
class LabelMap:
    """What the file of a label map holds.

    Args:
        labels: (H, W) whole numbers.
        palette: (N, 3) colours, RGB from 0 to 255, by label; None if the file has none.
    """

    labels: np.ndarray
    palette: np.ndarray | None = None


def read_label_map(findings: Findings, listed: str, path: str, total: int, *, known: bool = True) -> LabelMap | None:
    """Reads a label map.

    Args:
        findings: Gets a finding if the file is no label map.
        listed: The folder or list with the file, as messages name it.
        path: The file.
        total: How many label maps are read.
        known: Whether a file of a format that Pillow does not know is a fault.

    Returns:
        The label map; None if the file is no label map that Pillow reads.
    """

    def refuse(kind: str, what: str, remedy: str, example: str) -> None:
        findings.add(kind, Severity.REFUSES, listed, what, remedy, example=example, total=total)

    if known and path.lower().endswith(ARRAYS):
        refuse(
            'map-array',
            'label maps that were read are files of arrays, but MMSegmentation reads pictures',
            "Save them as PNG: Image.fromarray(numpy.load('a.npy').astype(numpy.uint8)).save('a.png'). Then set "
            "seg_map_suffix='.png'.",
            path,
        )
        return None
    header = read_header(findings, listed, 'label maps', path, False, known=known)
    if header is None:
        return None
    if header.format == 'JPEG':
        refuse(
            'map-jpeg',
            'label maps that were read are JPEG files. JPEG changes the values of pixels, so that they are no longer '
            'class numbers',
            'Save the original maps as PNG; converting the JPEG files would keep the changed values. Then set '
            "seg_map_suffix='.png'.",
            path,
        )
        return None
    try:
        with Image.open(path) as image:
            mode, labels = image.mode, np.asarray(image).squeeze()
            colours = image.getpalette('RGB') if mode == 'P' else None
    except UNREADABLE as error:
        refuse('label-maps-damaged', 'label maps that were read cannot be read', 'Get them again.', f'{path}: {error}')
        return None
    if labels.ndim != 2:
        grey = mode in ('RGB', 'RGBA', 'LA') and (mode == 'LA' or bool((labels[..., :3] == labels[..., :1]).all()))
        refuse(
            'map-grey-in-channels' if grey else 'map-colours',
            f'label maps that were read have {labels.shape[-1]} channels; one is needed, whose values are class '
            'numbers',
            'Keep only the first channel: Image.open(path).getchannel(0).save(path of the new map).'
            if grey
            else 'Colour maps (a colour for each class) have to be converted first; a PNG with a palette is fine.',
            f'{path} ({mode})',
        )
        return None
    if labels.dtype.kind == 'f':
        if not np.array_equal(labels, np.round(labels)):
            refuse(
                'map-fractions',
                'label maps that were read hold fractions',
                'A pixel must be a class number; save the maps as PNG of 8 bits.',
                f'{path} ({mode})',
            )
            return None
        labels = labels.astype(np.int64)
    return LabelMap(
        labels.astype(np.uint8) if labels.dtype == bool else labels,
        None if colours is None else np.array(colours, np.uint8).reshape(-1, 3),
    )
