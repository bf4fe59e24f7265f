"""Tells image files that are damaged from sound ones, also where decoders say nothing."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError)  # what Pillow raises for damaged files
ENDINGS = {b'\xff\xd8\xff': b'\xff\xd9', b'\x89PNG\r\n\x1a\n': b'IEND\xaeB`\x82'}  # of JPEG and PNG, by their openings
JPEG, SCAN = b'\xff\xd8\xff', b'\xff\xda'  # how a JPEG opens, and how its pixels do
TIFF = (b'II*\0', b'MM\0*')  # how a TIFF opens
ZEROS = bytes(64)  # a part that was never written, or lost by a disk, is longer by far


def why_unreadable(path: str) -> str | None:
    """Decodes an image strictly; says why that fails, or returns None if it does not.

    OpenCV fills what a cut file lacks with grey, and says so in a warning of its C library at most.
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
    """Says why Pillow takes a file for no image."""
    with open(path, 'rb') as file:
        start = file.read(12)
    if start[:4] in TIFF:
        return 'it is a TIFF of a kind that Pillow does not read, such as one of five channels'
    if start[4:8] == b'ftyp':
        return 'it is HEIC, AVIF or a film, whatever its name says, as telephones save them; convert it to JPEG'
    return 'it is no image'


def is_damaged(path: str) -> str | None:
    """Says why a JPEG or PNG file that was decoded is not whole; None if it is, or cannot be told.

    Only files without the proper end are decoded a second time.
    """
    return None if _is_whole(path) else why_unreadable(path)


def has_zeroed_pixels(path: str) -> str | None:
    """Says so if bytes in the middle of a JPEG file are zeros that are no pixels; None if not, or if it is no JPEG.

    Even images of one colour may have such runs, so libjpeg decides. It goes on with whatever it makes of the zeros and
    warns on the standard error stream, which is caught for that long. Not for programs with several threads.
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
    """Silences Pillow's warning of images of many pixels, which satellite images are."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
        yield


def _is_whole(path: str) -> bool:
    """Whether a file ends as its format does; True for formats of which that cannot be told."""
    with open(path, 'rb') as file:
        start = file.read(8)
        ending = next((end for opening, end in ENDINGS.items() if start.startswith(opening)), b'')
        file.seek(-min(len(ending), file.seek(0, os.SEEK_END)), os.SEEK_END)
        return file.read() == ending
