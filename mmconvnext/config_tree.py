"""Walks through the nested dictionaries and lists of a config."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

NodePath = tuple[str, ...]  # the keys and list indices from the root to a node


def walk(node: Any) -> Iterator[ConfigDict]:
    """Yields every dictionary at or below ``node``, parents first, also those in lists and tuples."""
    for _, mapping in walk_with_path(node):
        yield mapping


def walk_with_path(node: Any, path: NodePath = ()) -> Iterator[tuple[NodePath, ConfigDict]]:
    """Yields what :func:`walk` does, each dictionary with its path."""
    if isinstance(node, ConfigDict):
        yield path, node
        for key, value in node.items():
            yield from walk_with_path(value, (*path, key))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from walk_with_path(value, (*path, str(index)))


def look_up(node: Any, path: NodePath) -> Any:
    """Returns what lies at ``path`` below ``node``, or None if nothing does."""
    for key in path:
        if isinstance(node, Mapping | Config):
            node = node.get(key)
        elif isinstance(node, list | tuple) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        else:
            return None
    return node


def datasets_of(node: ConfigDict, path: NodePath = ()) -> Iterator[tuple[NodePath, ConfigDict]]:
    """Yields the datasets that read files, each with its path: what lies within the wrappers of a dataset's config."""
    if 'datasets' in node:  # ConcatDataset
        for index, child in enumerate(node.datasets):
            yield from datasets_of(child, (*path, 'datasets', str(index)))
    elif 'dataset' in node:  # RepeatDataset, ClassBalancedDataset, MultiImageMixDataset
        yield from datasets_of(node.dataset, (*path, 'dataset'))
    else:
        yield path, node


def as_list(value: Any) -> list:
    """Returns a setting that is one dictionary, a list of them, or None, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
