"""Checks image files: all of them in the file system, and a sample by their headers."""

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from mmconvnext.config_tree import walk
from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.image_damage import UNREADABLE, any_size, has_zeroed_pixels, is_damaged, why_unidentified
from mmconvnext.datasets.pixel_formats import check_pixel_formats

SAMPLE = 50  # images of a split whose headers are read, spread over it
SMALLEST = 5  # further images: those with the fewest bytes per pixel
POINTER_LIMIT = 1024  # bytes; a Git LFS pointer is smaller by its specification
POINTER = b'version https://git-lfs'
TURNED = range(5, 9)  # EXIF orientations that exchange width and height

FileOfRecord = tuple[str, int | None, int | None, str]  # path, width and height in pixels, place of the record


@dataclass(frozen=True)
class Header:
    """What the first bytes of an image say.

    Args:
        format: As Pillow names it, such as ``JPEG``.
        stored: (width, height) in pixels as stored.
        loaded: (width, height) in pixels as loaded: turned by the EXIF orientation if the loader does that.
        orientation: The EXIF orientation, 1 to 8; 1 is upright.
    """

    format: str
    stored: tuple[int, int]
    loaded: tuple[int, int]
    orientation: int


def check_image_files(
    findings: Findings,
    file: str,
    name: str,
    images: Sequence[FileOfRecord],
    *,
    turns: bool = True,
    masks: bool = True,
    eight_bits: bool = True,
) -> None:
    """Checks the files of a split's images: all of them in the file system, and a sample by their headers.

    Links that lead nowhere are faults. Other absent files are passed over, since another check reports them.

    Args:
        findings: Gets what was found.
        file: The annotation file or folder that lists the images.
        name: What the config calls the dataset.
        images: Path, width, height and place (such as ``images[3]``) of each; sizes in pixels, None if not known.
        turns: Whether the loader turns images as their EXIF orientation says; see :func:`turns_by_exif`.
        masks: Whether masks are learnt or evaluated. With a wrong size all of them are wrong.
        eight_bits: Whether they are loaded by OpenCV with 8 bits a channel; see
            :func:`~mmconvnext.datasets.pixel_formats.loads_8_bits`. Other loaders may read what Pillow does not know.
    """
    listed = f'{file} ({name})'
    sizes = check_files(findings, listed, 'images', [path for path, *_ in images])
    sound = [image for image in images if image[0] in sizes]
    undecided: list[str] = []  # places of images that EXIF turns by 180 degrees or mirrors
    confirmed = False  # whether a record is known to be about a turned image
    sample = _sample(sound, sizes)
    for path, width, height, place in sample:
        header = read_header(findings, listed, 'images', path, turns, known=eight_bits)
        if header is None or not width or not height:
            continue
        if header.loaded == (width, height):
            confirmed |= header.loaded != header.stored
            if turns and header.orientation in (2, 3, 4):
                undecided.append(f'{place}, {path}')
        else:
            _add_size(findings, listed, header, (width, height), f'{place}, {path}', masks)
    if eight_bits:
        check_pixel_formats(findings, listed, [path for path, *_ in sample])
    if undecided and not confirmed:
        finding = findings.add(
            'image-turned-unseen',
            Severity.CHANGES,
            listed,
            'images that were opened have an EXIF orientation that mirrors them, or turns them by 180 degrees, when '
            'they are loaded. Their size does not tell whether the annotations are for the turned picture',
            'Compare boxes and pictures of these. If they do not match, save the pictures without the EXIF tag.',
            count=len(undecided),
        )
        finding.examples = undecided[:3]


def check_files(findings: Findings, listed: str, noun: str, paths: Iterable[str]) -> dict[str, int]:
    """Looks in the file system for files that are empty, Git LFS pointers, dead links, folders, or not readable.

    Args:
        findings: Gets what was found.
        listed: The folder or list with the files, as messages name it.
        noun: What the files are, in the plural, such as ``label maps``.
        paths: The files. Those that are absent are passed over.

    Returns:
        The size in bytes of each file without such a fault.
    """
    files = list(dict.fromkeys(paths))
    sizes: dict[str, int] = {}
    again = 'Copy or download them again, or take them off the list.'
    for path in files:
        fault = None
        try:
            status = os.stat(path)
        except FileNotFoundError:
            if os.path.islink(path):
                target = os.readlink(path)
                fault = ('link', f'{noun} are links to nothing', again, f'{path} -> {target}')
        except OSError as error:
            fault = ('unreadable', f'{noun} cannot be read', again, f'{path}: {error.strerror}')
        else:
            if not stat.S_ISREG(status.st_mode):
                fault = ('no-file', f'{noun} are folders or devices', 'Give the names of image files.', path)
            elif status.st_size == 0:
                fault = ('empty', f'{noun} are files of no bytes', again, path)
            elif status.st_mode & 0o444 != 0o444 and not os.access(path, os.R_OK):
                fault = ('unreadable', f'{noun} cannot be read', 'Give yourself the permission to read them.', path)
            elif status.st_size < POINTER_LIMIT and _starts_with(path, POINTER):
                fetch = 'Fetch what they stand for, in the folder of the repository: git lfs pull.'
                fault = ('pointer', f'{noun} are Git LFS pointers, texts that stand for the file', fetch, path)
            else:
                sizes[path] = status.st_size
        if fault:
            kind, what, remedy, example = fault
            kind = f'{noun.replace(" ", "-")}-{kind}'
            findings.add(kind, Severity.REFUSES, listed, what, remedy, example=example, total=len(files))
    return sizes


def read_header(
    findings: Findings, listed: str, noun: str, path: str, turns: bool, *, known: bool = True
) -> Header | None:
    """Reads the header of an image. A file that is no image, or is truncated, is a finding that refuses.

    Args:
        findings: Gets what was found.
        listed: The folder or list with the file, as messages name it.
        noun: What the file is, in the plural, such as ``label maps``.
        path: The file.
        turns: Whether the loader turns images as their EXIF orientation says.
        known: Whether a file of a format that Pillow does not know is a fault.

    Returns:
        The header; None if it cannot be read. For an image of very many pixels that is no fault.
    """
    try:
        with any_size(), Image.open(path) as image:
            tags = getattr(image, 'tag_v2', {})  # for TIFF, Pillow gives the size as turned
            stored = (tags.get(256, image.width), tags.get(257, image.height))
            kind = image.format or ''
            orientation = image.getexif().get(0x0112, 1)
    except Image.DecompressionBombError:
        return None
    except UnidentifiedImageError:
        if known:
            _add_damage(findings, listed, noun, path, why_unidentified(path))
        return None
    except UNREADABLE as error:
        _add_damage(findings, listed, noun, path, str(error))
        return None
    if damage := is_damaged(path) or has_zeroed_pixels(path):
        _add_damage(findings, listed, noun, path, damage)
        return None
    loaded = stored
    if turns and orientation in TURNED:
        loaded = stored[::-1] if kind == 'JPEG' else _opencv_size(path) or stored
    return Header(kind, stored, loaded, orientation)


def turns_by_exif(pipeline: Any) -> bool:
    """Returns whether a pipeline's ``LoadImageFromFile`` turns images by their EXIF orientation, as mmcv does."""
    for transform in walk(pipeline):
        if 'LoadImageFromFile' in str(transform.get('type')):
            color = transform.get('color_type', 'color')
            backend = transform.get('imdecode_backend', 'cv2')
            return backend in ('cv2', 'pillow') and color != 'unchanged' and not color.endswith('ignore_orientation')
    return True


def _sample(images: Sequence[FileOfRecord], sizes: dict[str, int]) -> list[FileOfRecord]:
    def bytes_per_pixel(image: FileOfRecord) -> float:
        path, width, height, _ = image
        return sizes[path] / ((width or 1) * (height or 1))

    step = max(1, -(-len(images) // SAMPLE))
    chosen = [*images[::step], *sorted(images, key=bytes_per_pixel)[:SMALLEST]]
    return list({image[0]: image for image in chosen}.values())


def _add_size(
    findings: Findings, listed: str, header: Header, record: tuple[int, int], example: str, masks: bool
) -> None:
    pair = f'{example}: {_size(record)} in the file, {_size(header.loaded)} as loaded'
    if header.stored == record:
        findings.add(
            'image-size-exif',
            Severity.REFUSES,
            listed,
            'images that were opened have the EXIF orientation of a camera held sideways. The loader turns them, but '
            'the annotations are for the picture as stored, so that boxes and masks miss the objects',
            'Save the images without the EXIF tag, or load them as stored: '
            "dict(type='LoadImageFromFile', color_type='color_ignore_orientation') in every pipeline.",
            example=f'{pair} (EXIF orientation {header.orientation})',
        )
        return
    exchanged = header.loaded == record[::-1]
    findings.add(
        'image-size-exchanged' if exchanged else 'image-size',
        Severity.REFUSES if masks else Severity.CHANGES,
        listed,
        'images that were opened have width and height exchanged in the annotation file'
        if exchanged
        else 'images that were opened have another size than the annotation file says',
        (
            'Masks are evaluated in the size that the file says, so that even a perfect mask counts as wrong. '
            if masks
            else ''
        )
        + 'Boxes beyond that size are left out. '
        + (
            'Exchange the two in the file.'
            if exchanged
            else 'If the images were resized, scale the annotations too; then correct width and height.'
        ),
        example=pair,
    )


def _add_damage(findings: Findings, listed: str, noun: str, path: str, why: str) -> None:
    findings.add(
        f'{noun.replace(" ", "-")}-damaged',
        Severity.REFUSES,
        listed,
        f'{noun} that were opened cannot be read',
        'Copy or download them again, or take them off the list.',
        example=f'{path}: {why}',
    )


def _starts_with(path: str, opening: bytes) -> bool:
    with open(path, 'rb') as file:
        return file.read(len(opening)) == opening


def _opencv_size(path: str) -> tuple[int, int] | None:
    """Returns (width, height) of an image as mmcv decodes it. OpenCV's versions differ in the formats they turn."""
    import cv2  # only where it is needed: importing the package loads no OpenCV

    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else (image.shape[1], image.shape[0])


def _size(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'
