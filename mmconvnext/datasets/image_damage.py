"""Tells damaged image files from sound ones, even where decoders report nothing."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError)  # what Pillow raises for damaged files
ENDINGS = {b'\xff\xd8\xff': b'\xff\xd9', b'\x89PNG\r\n\x1a\n': b'IEND\xaeB`\x82'}  # the last bytes, by the first
JPEG, SCAN = b'\xff\xd8\xff', b'\xff\xda'  # the first bytes of a JPEG, and those of its pixel data
TIFF = (b'II*\0', b'MM\0*')  # the first bytes of a TIFF
ZEROS = bytes(64)  # a part that was never written, or that a disk lost, is far longer


def why_unreadable(path: str) -> str | None:
    """Decodes an image strictly. Returns why that fails, or None if it does not.

    OpenCV fills the missing part of a truncated file with grey. At most, its C library prints a warning.
    """
    try:
        with any_size(), Image.open(path) as image:
            image.load()
    except UnidentifiedImageError:
        return why_unidentified(path)
    except Image.DecompressionBombError:
        return None
    except UNREADABLE as error:
        return getattr(error, 'strerror', None) or str(error)
    return None


def why_unidentified(path: str) -> str:
    """Says why Pillow does not recognise a file as an image."""
    with open(path, 'rb') as file:
        start = file.read(12)
    if start[:4] in TIFF:
        return 'it is a TIFF of a kind that Pillow does not read, such as one of five channels'
    if start[4:8] == b'ftyp':
        return 'it is HEIC, AVIF or a video, as phones save them, whatever its name says; convert it to JPEG'
    return 'it is no image'


def is_damaged(path: str) -> str | None:
    """Says why a JPEG or PNG file is incomplete, even if it was decoded; None if it is complete or no such file.

    Only files without the proper end are decoded a second time.
    """
    return None if _is_whole(path) else why_unreadable(path)


def has_zeroed_pixels(path: str) -> str | None:
    """Says if part of a JPEG's pixel data was overwritten with zeros; None if not, or if the file is no JPEG.

    Images of one colour may also have long runs of zeros, so libjpeg decides. It decodes the zeros as if they were
    pixels and prints a warning to standard error, which is redirected meanwhile. A program with several threads must
    not call this.
    """
    with open(path, 'rb') as file:
        content = file.read() if file.read(3) == JPEG else b''
    start = content.find(SCAN)
    if start < 0 or content.find(ZEROS, start) < 0:
        return None
    import cv2  # only where it is needed: importing the package loads no OpenCV

    with tempfile.TemporaryFile() as said:
        screen = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        finally:
            os.dup2(screen, 2)
            os.close(screen)
        warned = said.seek(0, os.SEEK_END) > 0
    return 'a part of its pixels was overwritten with zeros' if warned else None


@contextmanager
def any_size() -> Iterator[None]:
    """Silences Pillow's warning about images of very many pixels, such as satellite images."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
        yield


def _is_whole(path: str) -> bool:
    """Returns whether a file ends as its format prescribes; True if it is neither JPEG nor PNG."""
    with open(path, 'rb') as file:
        start = file.read(8)
        ending = next((end for opening, end in ENDINGS.items() if start.startswith(opening)), b'')
        file.seek(-min(len(ending), file.seek(0, os.SEEK_END)), os.SEEK_END)
        return file.read() == ending
