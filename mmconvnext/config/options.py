"""Applies ``--cfg-options`` to a config, and knows afterwards which values they set."""

import copy
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any

from mmengine.config import Config, ConfigDict

from mmconvnext.config_tree import NodePath, as_list, look_up
from mmconvnext.errors import UserError

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
DICTIONARIES = (
    *LOADERS,
    *('train_cfg', 'val_cfg', 'test_cfg', 'optim_wrapper', 'default_hooks', 'env_cfg', 'randomness'),
)

# MMEngine divides by these numbers, by some only after a whole epoch
POSITIVE = ('train_cfg.max_epochs', 'train_cfg.max_iters', 'train_cfg.val_interval', 'default_hooks.logger.interval')


class Options:
    """Settings that the user gave in addition to the config file.

    Args:
        settings: Values by dotted name, such as ``{'model.backbone.arch': 'base'}``.
        cfg: The config they are for. If an option is a dictionary and the config has something else in that place,
            the dictionary replaces it.

    Raises:
        UserError: If one setting contradicts another.
    """

    def __init__(self, settings: Mapping[str, Any] | None, cfg: Config) -> None:
        settings = copy.deepcopy(dict(settings or {}))
        for name, value in settings.items():
            _mark_replaced(value, cfg, tuple(name.split('.')))
        tree = Config()
        try:
            tree.merge_from_dict(settings)
        except TypeError as error:
            raise UserError(
                f'--cfg-options contradict each other: {", ".join(settings)}.', settings=list(settings)
            ) from error
        self.tree = ConfigDict({key: tree[key] for key in tree})

    def get(self, *path: str) -> Any:
        """Returns what the options set at a path, or None if they leave it alone."""
        return look_up(self.tree, path)

    def count(self, name: str, default: int) -> int:
        """Returns the whole number that the options set at a dotted name, or a default.

        Raises:
            UserError: If they set something else than a whole number of at least 1.
        """
        value = self.get(*name.split('.'))
        if value is None:
            return default
        if not isinstance(value, int) or value < 1:
            raise UserError(f'{name}={value!r} must be a positive integer.', key=name)
        return value

    def replaces(self, *path: str) -> bool:
        """Returns whether an option replaces the whole dictionary at a path, or one around it."""
        return any('_delete_' in (look_up(self.tree, path[:end]) or {}) for end in range(len(path) + 1))

    def paths(self) -> Iterator[NodePath]:
        """Yields the path of each value that the options set."""
        yield from _leaves(self.tree, ())

    def apply(self, cfg: Config) -> None:
        """Sets the values in ``cfg``.

        Raises:
            UserError: If an option does not fit the config.
        """
        try:
            cfg.merge_from_dict(copy.deepcopy(self.tree))
        except (TypeError, KeyError, AttributeError) as error:
            raise UserError(f'--cfg-options does not fit the config: {error.args[0]}') from error
        check_forms(cfg)


def check_forms(cfg: Config) -> None:
    """Checks the types of the settings that this package changes.

    Raises:
        UserError: If one is of another type; ``facts['key']`` names it.
    """
    forms: list[tuple[str, Any, type | UnionType, str]] = [
        (key, cfg.get(key), ConfigDict | None, 'a dictionary') for key in DICTIONARIES
    ]
    forms.append(('custom_hooks', cfg.get('custom_hooks'), list | tuple | None, 'a list'))
    schedules = ConfigDict | list | tuple | None
    forms.append(('param_scheduler', cfg.get('param_scheduler'), schedules, 'a dictionary, or a list of them'))
    neck = cfg.model.get('neck')
    forms.append(('model.neck', neck, ConfigDict | list | tuple | None, 'a dictionary, or a list of them'))
    for index, part in enumerate(neck if isinstance(neck, list | tuple) else ()):
        forms.append((f'model.neck.{index}', part, ConfigDict, 'a dictionary'))
    for key in LOADERS:
        if isinstance(loader := cfg.get(key), ConfigDict):
            forms.append((f'{key}.dataset', loader.get('dataset'), ConfigDict, 'a dictionary'))
            for count in ('num_workers', 'batch_size'):
                forms.append((f'{key}.{count}', loader.get(count, 1), int, 'a whole number'))
    for key, value, kind, words in forms:
        if not isinstance(value, kind):
            raise UserError(f'{key} is {value!r}; it must be {words}.', key=key)
    for key in POSITIVE:
        value = look_up(cfg, tuple(key.split('.')))
        if value is not None and (not isinstance(value, int) or value < 1):
            raise UserError(f'{key} is {value!r}; it must be a whole number, 1 or more.', key=key)

    schedules = cfg.get('param_scheduler')
    for index, one in enumerate(as_list(schedules)):
        key = f'param_scheduler.{index}' if isinstance(schedules, list | tuple) else 'param_scheduler'
        begin, end = one.get('begin', 0), one.get('end')
        if isinstance(begin, int) and isinstance(end, int) and begin >= end:
            raise UserError(
                f'{key} begins at {begin} and ends at {end}, so it would never run. With another length of the '
                'training, set begin and end of every schedule, its warm-up included.',
                key=key,
            )


def _mark_replaced(value: Any, cfg: Config, path: NodePath) -> None:
    """Marks the dictionaries of an option with ``_delete_`` where the config has something other than a dictionary."""
    if not isinstance(value, dict):
        return
    old, parent = look_up(cfg, path), look_up(cfg, path[:-1])
    if isinstance(old, Mapping) or (isinstance(old, list | tuple) and all(str(key).isdigit() for key in value)):
        for key, child in value.items():
            _mark_replaced(child, cfg, (*path, str(key)))
    elif isinstance(parent, Mapping | Config) and path[-1] in parent:
        value['_delete_'] = True


def _leaves(node: Any, path: NodePath) -> Iterator[NodePath]:
    if isinstance(node, Mapping) and node:
        for key, child in node.items():
            yield from _leaves(child, (*path, str(key)))
    else:
        yield path
