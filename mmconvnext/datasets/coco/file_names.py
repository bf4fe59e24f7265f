"""Finds images whose ``file_name`` is spelt otherwise than on disk."""

import os
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import PureWindowsPath
from typing import Literal
from urllib.parse import unquote

from mmconvnext.datasets.listing import Listings

# Spellings, each alone and then all together: a short name, the message about file names, and how names are decoded
SPELLINGS: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ('backslash', 'have backslashes, which are read as slashes', lambda name: name.replace('\\', '/')),
    ('percent', 'are percent-encoded, as in URLs, and are read decoded', unquote),
    ('unicode', 'have accents that are composed otherwise in Unicode than on disk', lambda name: name),
    (
        'mixed',
        'have backslashes, percent signs or accents, and are read decoded',
        lambda name: unquote(name.replace('\\', '/')),
    ),
)
COMPOSED_OTHERWISE = ('unicode', 'mixed')
CAPITALS = ('capitals', 'differ from the files in upper and lower case, which is ignored')
# The last resort, where the last parts of all such paths differ
WHOLE = ('whole-paths', 'are absolute paths, as on another machine, of which only the last part is read')
FORMS: tuple[Literal['NFC', 'NFD'], ...] = ('NFC', 'NFD')


def find_images(folder: str, names: Sequence[str]) -> tuple[list[int], dict[tuple[str, str], dict[int, str]]]:
    """Looks for images by their names.

    Args:
        folder: The folder that the names are relative to.
        names: The ``file_name`` of each image.

    Returns:
        First the indices of images that exist in no spelling. Then the names of those that exist in another spelling,
        by its short name and message, and by index.
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
    paths = {index: PureWindowsPath(names[index]) for index in missing}  # it splits at slashes and backslashes
    last = {index: path.name for index, path in paths.items() if path.root}
    by_last = {index: name for index, name in last.items() if os.path.join(folder, name) in listings}
    if by_last and len(set(last.values())) == len(last):
        found[WHOLE] = by_last
        missing = [index for index in missing if index not in by_last]
    return missing, found
