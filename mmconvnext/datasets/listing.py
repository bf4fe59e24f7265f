"""Tells which of many files exist by listing each folder once: on network storage, asking for each takes minutes."""

import os
from collections.abc import Iterable


def is_remote(path: str, backend_args: dict | None = None) -> bool:
    """Returns whether MMEngine reads a path from elsewhere than the local file system. Such files are not checked."""
    return '://' in path or (backend_args or {}).get('backend', 'local') != 'local'


class Listings:
    """The names in folders. A folder is listed when it is first asked for."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}
        self._by_letters: dict[str, dict[str, list[str]]] = {}

    def __contains__(self, path: str) -> bool:
        """Whether a file or folder of exactly this name exists."""
        folder, name = os.path.split(path)
        return name in self._names_in(folder)

    def in_other_capitals(self, path: str) -> str | None:
        """Returns the one name in the path's folder that differs only in upper and lower case, or None."""
        folder, name = os.path.split(path)
        if folder not in self._by_letters:
            names = self._names_in(folder)
            self._by_letters[folder] = {}
            for there in names:
                self._by_letters[folder].setdefault(there.casefold(), []).append(there)
        alike = self._by_letters[folder].get(name.casefold(), [])
        return alike[0] if len(alike) == 1 else None

    def _names_in(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            there = os.path.isdir(folder or '.')
            self._names[folder] = frozenset(os.listdir(folder or '.')) if there else frozenset()
        return self._names[folder]


def absent(paths: Iterable[str]) -> list[str]:
    """Returns those of the paths that do not exist, in their order."""
    listings = Listings()
    return [path for path in paths if path not in listings]


def contents(folder: str, limit: int = 3) -> str:
    """Says in words what a folder holds: the first few names, and how many there are beyond."""
    names = sorted(name for name in os.listdir(folder) if not name.startswith('.'))
    return f'holds {first_few(names, limit)}' if names else 'is empty'


def first_few(items: Iterable[object], limit: int = 3) -> str:
    """Joins the first few items with commas, and says how many there are beyond."""
    listed = list(items)
    more = f' and {len(listed) - limit} more' if len(listed) > limit else ''
    return ', '.join(str(item) for item in listed[:limit]) + more
