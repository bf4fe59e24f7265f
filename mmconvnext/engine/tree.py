"""Walking through a config."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

NodePath = tuple[str, ...]  # keys and list indices on the way from the root to a node


def walk(node: Any) -> Iterator[ConfigDict]:
    """Yields every mapping at or below ``node``, parents first; lists and tuples are looked into."""
    for _, mapping in walk_with_path(node):
        yield mapping


def walk_with_path(node: Any, path: NodePath = ()) -> Iterator[tuple[NodePath, ConfigDict]]:
    """Yields what :func:`walk` does, each mapping with the way to it."""
    if isinstance(node, ConfigDict):
        yield path, node
        for key, value in node.items():
            yield from walk_with_path(value, (*path, key))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from walk_with_path(value, (*path, str(index)))


def look_up(node: Any, path: NodePath) -> Any:
    """What lies at ``path`` below ``node``; None where there is nothing."""
    for key in path:
        if isinstance(node, Mapping | Config):
            node = node.get(key)
        elif isinstance(node, list | tuple) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        else:
            return None
    return node
