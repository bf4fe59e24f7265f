"""Finds images whose ``file_name`` is written in another way than on disk."""

import os
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import PureWindowsPath
from typing import Literal
from urllib.parse import unquote

from mmconvnext.datasets.listing import Listings

# Each alone, then all together: a short name, what is said of file names, and how they are read
SPELLINGS: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ('backslash', 'have backslashes, and the images are found with slashes', lambda name: name.replace('\\', '/')),
    ('percent', 'are percent-encoded, as in addresses, and the images are found decoded', unquote),
    ('unicode', 'have accents composed otherwise in Unicode than the images', lambda name: name),
    (
        'mixed',
        'have backslashes, percent signs or accents, and the images are found with them decoded',
        lambda name: unquote(name.replace('\\', '/')),
    ),
)
COMPOSED_OTHERWISE = ('unicode', 'mixed')
CAPITALS = ('capitals', 'have capitals elsewhere than the images, and these are found by the same letters')
# The last resort, where the last parts of all such paths differ
WHOLE = ('whole-paths', 'are whole paths, as of another machine, and the images are found by their last part')
FORMS: tuple[Literal['NFC', 'NFD'], ...] = ('NFC', 'NFD')


def find_images(folder: str, names: Sequence[str]) -> tuple[list[int], dict[tuple[str, str], dict[int, str]]]:
    """Looks for images by their names.

    Args:
        folder: Which the names are in, or below.
        names: The ``file_name`` of each image.

    Returns:
        The indices of images that are not there in any spelling, and the names of those that are there in another,
        by short name and what is said of them, and by index.
    """
    listings = Listings()
    missing: list[int] = []
    found: dict[tuple[str, str], dict[int, str]] = {}
    for index, name in enumerate(names):
        if os.path.join(folder, name) in listings:
            continue
        for short, what, spelling in SPELLINGS:
            spelled = [spelling(name)]
            if short in COMPOSED_OTHERWISE:
                spelled += [unicodedata.normalize(form, spelled[0]) for form in FORMS]
            there = next((other for other in spelled if os.path.join(folder, other) in listings), None)
            if there is not None:
                found.setdefault((short, what), {})[index] = there
                break
        else:
            same_letters = listings.in_other_capitals(os.path.join(folder, name))
            if same_letters is None:
                missing.append(index)
            else:
                found.setdefault(CAPITALS, {})[index] = os.path.join(os.path.dirname(name), same_letters)
    paths = {index: PureWindowsPath(names[index]) for index in missing}  # which reads slashes and backslashes
    last = {index: path.name for index, path in paths.items() if path.root}
    by_last = {index: name for index, name in last.items() if os.path.join(folder, name) in listings}
    if by_last and len(set(last.values())) == len(last):
        found[WHOLE] = by_last
        missing = [index for index in missing if index not in by_last]
    return missing, found
