"""Finds keys of a config that nothing takes, such as misspelt ones, before anything is built from it."""

import difflib
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    EVALUATOR,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TASK_UTILS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
    Registry,
)
from mmengine.utils import ManagerMixin
from torch.utils.data import DataLoader

from mmconvnext.config_tree import NodePath, walk_with_path
from mmconvnext.errors import UserError

# Where a config has what MMEngine builds, with the registries for it; other names at its top level may be variables
OF_DATA = (DATASETS, DATA_SAMPLERS, TRANSFORMS)
BUILT: dict[str, tuple[Registry, ...]] = {
    'model': (MODELS, TASK_UTILS),
    'train_dataloader': OF_DATA,
    'val_dataloader': OF_DATA,
    'test_dataloader': OF_DATA,
    'val_evaluator': (METRICS, EVALUATOR),
    'test_evaluator': (METRICS, EVALUATOR),
    'optim_wrapper': (OPTIM_WRAPPERS, OPTIMIZERS),
    'param_scheduler': (PARAM_SCHEDULERS,),
    'train_cfg': (LOOPS,),
    'val_cfg': (LOOPS,),
    'test_cfg': (LOOPS,),
    'default_hooks': (HOOKS,),
    'custom_hooks': (HOOKS,),
    'visualizer': (VISUALIZERS, VISBACKENDS),
    'log_processor': (LOG_PROCESSORS,),
    'randomness': (),
}
# Below these keys MMEngine's and mmcv's own builders take some of the arguments, as build_norm_layer does
BUILT_OTHERWISE = re.compile(r'(.*_)?cfg$|dcn$|init$|override$')
# What the builder takes before it builds: of every node, of hooks, of schedules, and of optimizers
TAKEN_OF_ALL = ('type', '_scope_', '_delete_')
TAKEN = {
    'default_hooks': ('priority',),
    'custom_hooks': ('priority',),
    'param_scheduler': ('convert_to_iter_based',),
    'optim_wrapper': ('optimizer', 'constructor', 'paramwise_cfg'),
}
OF_LOADER = ('dataset', 'sampler', 'num_batch_per_epoch')
# Keys whose meaning is MMEngine's own, whatever model and data a config is for
OF_MMENGINE = re.compile(
    r'(\w+_dataloader(\.sampler)?|optim_wrapper(\.optimizer)?|(train|val|test)_cfg|randomness|log_processor'
    r'|default_hooks\.\w+|param_scheduler(\.\d+)?)\.\w+'
)


@dataclass(frozen=True)
class Unknown:
    """A key that nothing takes.

    Args:
        key: Its dotted name.
        taker: What its dictionary is for, such as the name of a class.
        near: The key that is likely meant; None if no name is close.
    """

    key: str
    taker: str
    near: str | None

    def __str__(self) -> str:
        """A line: the key, and what is there instead."""
        return f'{self.key}: {self.taker} has no such argument' + (f', but {self.near}' if self.near else '')


def check_keywords(cfg: Config) -> None:
    """Checks the arguments of what MMEngine itself builds: loaders, loops, optimizer, schedules and hooks.

    Raises:
        UserError: If it does not take one of them. ``facts['unknown']`` has an :class:`Unknown` for each of these.
    """
    _refuse([one for one in unknown_keywords(cfg) if OF_MMENGINE.fullmatch(one.key)])


@contextmanager
def name_unknown_keywords(cfg: Config) -> Iterator[None]:
    """Names the place in the config where an error says no more than that a class does not take an argument.

    It does so after the fact: a class may hand on what its signature does not have, so only a failure is certain.

    Raises:
        UserError: As :func:`check_keywords`.
    """
    try:
        yield
    except UserError as error:
        text = str(error.__cause__ or error)  # of Python, or of this package's backbone
        refused = re.search(r"(?:unexpected keyword argument|has no argument) '(\w+)'", text)
        if refused:
            _refuse([one for one in unknown_keywords(cfg) if one.key.rpartition('.')[2] == refused[1]])
        raise


def _refuse(unknown: list[Unknown]) -> None:
    if unknown:
        listed = str(unknown[0]) if len(unknown) == 1 else ''.join(f'\n    {one}' for one in unknown)
        raise UserError(f'the config has what nothing takes: {listed}.', unknown=unknown)


def unknown_keywords(cfg: Config) -> list[Unknown]:
    """Returns the keys of a config that are no arguments of what is built with them.

    What takes any arguments is passed over, and so is a type that no imported package has registered. A class may
    hand on arguments that its signature does not have, so a key may be in this list and be taken.
    """
    found = []
    for top in BUILT:
        for path, node in walk_with_path(cfg.get(top), (top,)):
            takers = [kind for kind in _kinds(path, node, cfg.get('default_scope')) if kind is not None]
            accepted = [arguments(kind) for kind in takers]
            if not accepted or None in accepted:
                continue
            known = {*TAKEN.get(top, ()), *(OF_LOADER if path[1:] == () and top.endswith('_dataloader') else ())}
            known |= {name for names in accepted if names for name in names}
            for key in node:
                if key not in known and key not in TAKEN_OF_ALL:
                    near = difflib.get_close_matches(key, known, n=1)
                    name = getattr(takers[0], '__name__', str(takers[0]))
                    found.append(Unknown('.'.join((*path, key)), name, near[0] if near else None))
    return found


def arguments(kind: Callable) -> set[str] | None:
    """Returns the names of the arguments that a class or function can be given; None if it takes any.

    A class that takes any is expected to hand them to the classes that it inherits from.
    """
    # Not at the top, here and below: they import OpenCV
    from mmengine import runner
    from mmengine.hooks import CheckpointHook

    if not inspect.isclass(kind):
        return _of_signature(kind)[0] if not _of_signature(kind)[1] else None
    names, closed = set[str](), False
    for base in kind.__mro__[:-1]:
        if '__init__' in vars(base) and not closed:
            own, is_open = _of_signature(vars(base)['__init__'])
            names |= own - {'self'}
            if is_open and base is CheckpointHook:
                # It hands the others to this function, after an epoch of training
                handed_on, is_open = _of_signature(runner.Runner.save_checkpoint)
                names |= handed_on - {'self'}
            closed = not is_open
    if issubclass(kind, ManagerMixin):
        names.add('name')
    return names if closed else None


def _of_signature(function: Callable) -> tuple[set[str], bool]:
    """The names of a function's arguments, and whether it takes any other."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a function in C
        return set(), True
    return {one.name for one in parameters}, any(one.kind is one.VAR_KEYWORD for one in parameters)


def _kinds(path: NodePath, node: ConfigDict, scope: str | None) -> Iterator[Any]:
    """Yields what may be built from a dictionary of the config: its type in each registry that has one of the name."""
    top, below = path[0], path[1:]
    kind = node.get('type')
    if any(BUILT_OTHERWISE.match(key) for key in below):
        return
    if kind is None:
        if not below:
            yield _untyped(top)
    elif callable(kind):
        yield kind
    elif isinstance(kind, str):
        for registry in BUILT[top]:
            yield _registered(registry, kind, node.get('_scope_') or scope)


def _untyped(top: str) -> Any:
    """What MMEngine makes of a dictionary without a type."""
    from mmengine import runner

    if top.endswith('_dataloader'):
        return DataLoader
    if top == 'randomness':
        return runner.Runner.set_randomness
    return {'val_cfg': runner.ValLoop, 'test_cfg': runner.TestLoop}.get(top)


def _registered(registry: Registry, kind: str, scope: str | None) -> Any:
    with registry.switch_scope_and_registry(scope) as of_scope:
        try:
            return of_scope.get(kind)
        except (RuntimeError, ImportError):  # not registered, or its package is not there
            return None
