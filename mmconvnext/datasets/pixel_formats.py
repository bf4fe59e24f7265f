"""Looks for images whose pixels are changed, or lost, when OpenCV converts them to three channels of 8 bits."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from mmconvnext.config_tree import walk
from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.image_damage import UNREADABLE, any_size

DECODED = 5  # images of 16 bits, and as many with transparency, whose pixels are looked at
BRIGHT = 1 << 15  # 16-bit values from here on fill the upper half of the 8-bit range
TRANSPARENT = 0.01  # share of an image's pixels
WITH_PAGES = ('TIFF', 'GIF', 'WEBP', 'PNG')  # not JPEG: that of a phone may have a preview behind it


@dataclass
class _Seen:
    """Examples of what was found, and how many images were decoded."""

    deep: list[str] = field(default_factory=list)  # 32 bits and more
    dark: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    transparent: list[str] = field(default_factory=list)
    decoded_16_bits: int = 0
    decoded_alpha: int = 0


def loads_8_bits(pipeline: Any) -> bool:
    """Returns whether a pipeline's ``LoadImageFromFile`` converts images to 8 bits per channel, as OpenCV does."""
    for transform in walk(pipeline):
        if 'LoadImageFromFile' in str(transform.get('type')):
            backend = transform.get('imdecode_backend', 'cv2')
            return backend == 'cv2' and transform.get('color_type', 'color') != 'unchanged'
    return False


def check_pixel_formats(findings: Findings, listed: str, paths: Iterable[str]) -> None:
    """Checks how many bits, pages and channels images have, and the pixels of the first few with 16 bits or alpha.

    Args:
        findings: Gets the images that loading changes.
        listed: The folder or list with the images, as messages name it.
        paths: The images. Those that cannot be read are passed over, since another check reports them.
    """
    seen = _Seen()
    total = 0
    for path in paths:
        try:
            with any_size(), Image.open(path) as image:
                total += 1
                _look(seen, path, image)
        except (*UNREADABLE, Image.DecompressionBombError):
            continue
    remedies = {
        'images-32-bits': (
            Severity.REFUSES,
            seen.deep,
            'images that were opened have 32 bits or more per channel, which OpenCV cannot read as a picture',
            'Save them with 8 bits, scaled so that what matters lies between 0 and 255.',
        ),
        'images-16-bits': (
            Severity.CHANGES,
            seen.dark,
            'images that were opened have 16 bits per channel but use only the lower ones; the loader keeps the upper '
            '8, so that the network sees nearly black pictures',
            'Save them with 8 bits, scaled by the same factor in all images: (image / largest * 255).astype(np.uint8).',
        ),
        'images-pages': (
            Severity.CHANGES,
            seen.pages,
            'images that were opened have several pages or frames, of which only the first is used',
            'Save each page as an image of its own if all are to be used.',
        ),
        'images-transparent': (
            Severity.CHANGES,
            seen.transparent,
            'images that were opened have transparent pixels; the loader drops the transparency, so that the network '
            'sees whatever colours the file has there',
            'Lay them on a background of your choice: Image.alpha_composite(background, image).convert("RGB").',
        ),
    }
    for kind, (severity, examples, what, remedy) in remedies.items():
        if examples:
            finding = findings.add(kind, severity, listed, what, remedy, count=len(examples), total=total)
            finding.examples = examples[:3]


def _look(seen: _Seen, path: str, image: Image.Image) -> None:
    bits = _bits(path, image)
    if bits > 16:
        seen.deep.append(f'{path} ({bits} bits)')
        return
    if bits == 16 and seen.decoded_16_bits < DECODED:
        seen.decoded_16_bits += 1
        largest = _largest(path)
        if 0 < largest < BRIGHT:
            seen.dark.append(f'{path} (0 to {largest} become 0 to {largest >> 8})')
    if _has_alpha(image) and seen.decoded_alpha < DECODED:
        seen.decoded_alpha += 1
        alpha = np.asarray(image.convert('RGBA'))[..., 3]
        if (share := float((alpha < 255).mean())) > TRANSPARENT:
            seen.transparent.append(f'{path} ({share:.0%} of its pixels)')
    if image.format in WITH_PAGES and _has_second_page(image):
        seen.pages.append(path)


def _bits(path: str, image: Image.Image) -> int:
    """Returns the number of bits per channel."""
    if image.format == 'TIFF':
        return max(getattr(image, 'tag_v2', {}).get(258, (1,)))  # BitsPerSample
    if image.format == 'PNG':
        with open(path, 'rb') as file:
            return file.read(25)[24]  # the bit depth, in the first chunk
    if image.mode.startswith('I;16') or (image.format, image.mode) == ('PPM', 'I'):
        return 16
    return 32 if image.mode in ('I', 'F') else 8


def _largest(path: str) -> int:
    """Returns the value that only a thousandth of an image's values exceed: single pixels may be bright."""
    import cv2  # only where it is needed: importing the package loads no OpenCV

    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    return 0 if image is None else int(np.percentile(np.asarray(image, np.float32), 99.9))


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info


def _has_second_page(image: Image.Image) -> bool:
    """Whether a page of the same size follows; smaller ones are previews or the steps of a pyramid."""
    size = image.size
    try:
        image.seek(1)
    except EOFError:
        return False
    return image.size == size and not getattr(image, 'tag_v2', {}).get(254, 0)  # NewSubfileType, 0 for a full page
