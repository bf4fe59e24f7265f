"""Finds keys of a config that no class or function takes, such as misspelt ones."""

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

# The top-level keys from which MMEngine builds something, with the registries for it. Other keys may be variables
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
# Keys that the builder itself uses: in every dictionary; in those of hooks, schedules and optimizers; in loaders
TAKEN_OF_ALL = ('type', '_scope_', '_delete_')
TAKEN = {
    'default_hooks': ('priority',),
    'custom_hooks': ('priority',),
    'param_scheduler': ('convert_to_iter_based',),
    'optim_wrapper': ('optimizer', 'constructor', 'paramwise_cfg'),
}
OF_LOADER = ('dataset', 'sampler', 'num_batch_per_epoch')
# Keys that MMEngine itself defines, whatever the model and the data are
OF_MMENGINE = re.compile(
    r'(\w+_dataloader(\.sampler)?|optim_wrapper(\.optimizer)?|(train|val|test)_cfg|randomness|log_processor'
    r'|default_hooks\.\w+|param_scheduler(\.\d+)?)\.\w+'
)


@dataclass(frozen=True)
class Unknown:
    """A key that nothing takes.

    Args:
        key: Its dotted name.
        taker: The name of the class or function that its dictionary is for.
        near: The key that is likely meant; None if no name is close.
    """

    key: str
    taker: str
    near: str | None

    def __str__(self) -> str:
        """One line: the key, and the argument that was likely meant."""
        return f'{self.key}: {self.taker} has no such argument' + (f', but it has {self.near}' if self.near else '')


def check_keywords(cfg: Config) -> None:
    """Checks the arguments of what MMEngine itself builds: loaders, loops, optimizer, schedules and hooks.

    Raises:
        UserError: If one of these arguments does not exist. ``facts['unknown']`` has an :class:`Unknown` for each.
    """
    _refuse([one for one in unknown_keywords(cfg) if OF_MMENGINE.fullmatch(one.key)])


@contextmanager
def name_unknown_keywords(cfg: Config) -> Iterator[None]:
    """Adds the place in the config to an error that says only that a class does not take an argument.

    The place is looked up after the failure, not before: a class may pass on arguments that its signature lacks.

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
        raise UserError(f'the config has arguments that nothing takes: {listed}.', unknown=unknown)


def unknown_keywords(cfg: Config) -> list[Unknown]:
    """Returns the keys of a config that are no arguments of the class or function that is built with them.

    A class that takes any argument is passed over, and so is a type that no imported package has registered. A class
    may pass on arguments that its signature lacks, so a key in this list may still be valid.
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

    A class that takes any is expected to pass them on to its base classes.
    """
    # These imports, here and below, are not at the top because they import OpenCV
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
                # It passes the other arguments to this function, but only after an epoch of training
                handed_on, is_open = _of_signature(runner.Runner.save_checkpoint)
                names |= handed_on - {'self'}
            closed = not is_open
    if issubclass(kind, ManagerMixin):
        names.add('name')
    return names if closed else None


def _of_signature(function: Callable) -> tuple[set[str], bool]:
    """Returns the names of a function's arguments, and whether it takes others too."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a function in C
        return set(), True
    return {one.name for one in parameters}, any(one.kind is one.VAR_KEYWORD for one in parameters)


def _kinds(path: NodePath, node: ConfigDict, scope: str | None) -> Iterator[Any]:
    """Yields what may be built from a dictionary of the config: what each registry has under the name of its type."""
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
    """Returns what MMEngine builds from a dictionary without a type."""
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
