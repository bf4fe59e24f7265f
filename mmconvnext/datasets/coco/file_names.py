"""Finds images whose ``file_name`` is written in another way than on disk."""

import os
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal
from urllib.parse import unquote

from mmconvnext.datasets.listing import Listings

# Each alone, then all together
SPELLINGS: dict[str, Callable[[str], str]] = {
    'have backslashes, and the images are found with slashes': lambda name: name.replace('\\', '/'),
    'are percent-encoded, as in addresses, and the images are found decoded': unquote,
    'have accents composed otherwise in Unicode than the images': lambda name: name,
    'have backslashes, percent signs, or accents, and the images are found with them decoded': lambda name: unquote(
        name.replace('\\', '/')
    ),
}
FORMS: tuple[Literal['NFC', 'NFD'], ...] = ('NFC', 'NFD')


def find_images(folder: str, names: Sequence[str]) -> tuple[list[int], dict[str, dict[int, str]]]:
    """Looks for images by their names.

    Args:
        folder: Which the names are in, or below.
        names: The ``file_name`` of each image.

    Returns:
        The indices of images that are not there in any spelling, and the names of those that are there in another,
        by what distinguishes it and by index.
    """
    listings = Listings()
    missing: list[int] = []
    found: dict[str, dict[int, str]] = {}
    for index, name in enumerate(names):
        if os.path.join(folder, name) in listings:
            continue
        for what, spelling in SPELLINGS.items():
            spelled = (spelling(name), *(unicodedata.normalize(form, spelling(name)) for form in FORMS))
            there = next((other for other in spelled if os.path.join(folder, other) in listings), None)
            if there is not None:
                found.setdefault(what, {})[index] = there
                break
        else:
            missing.append(index)
    return missing, found
