"""Walking through a config."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import ConfigDict


def walk(node: Any) -> Iterator[ConfigDict]:
    """Yields every mapping at or below ``node``, parents first; lists and tuples are looked into."""
    if isinstance(node, ConfigDict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from walk(value)
