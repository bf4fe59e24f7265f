"""Which of many files exist, by listing each folder once: asking for each file takes minutes on network storage."""

import os
from collections.abc import Iterable


def is_remote(path: str, backend_args: dict | None = None) -> bool:
    """Whether MMEngine reads a path from elsewhere than the local file system, so that it cannot be checked here."""
    return '://' in path or (backend_args or {}).get('backend', 'local') != 'local'


def absent(paths: Iterable[str]) -> list[str]:
    """Returns those of the paths that do not exist, in their order."""
    listings: dict[str, frozenset[str]] = {}
    missing = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in listings:
            listings[folder] = frozenset(os.listdir(folder or '.')) if os.path.isdir(folder or '.') else frozenset()
        if name not in listings[folder]:
            missing.append(path)
    return missing


def contents(folder: str, limit: int = 3) -> str:
    """Says in words what a folder holds: the first few names, and how many there are beyond."""
    names = sorted(name for name in os.listdir(folder) if not name.startswith('.'))
    return f'holds {some(names, limit)}' if names else 'is empty'


def some(items: Iterable[object], limit: int = 3) -> str:
    """Joins the first few items with commas, and says how many there are beyond."""
    listed = list(items)
    more = f' and {len(listed) - limit} more' if len(listed) > limit else ''
    return ', '.join(str(item) for item in listed[:limit]) + more
