"""From a config file and command-line options to the config that runs."""

import copy
import difflib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.config.utils import ConfigParsingError

from mmconvnext.engine.console import is_ours
from mmconvnext.engine.follow import find_backbone, follow_backbone, follow_in_backbone
from mmconvnext.engine.tree import NodePath, look_up, walk
from mmconvnext.errors import UserError

MINI_ROOT = Path('data/mini')
PREFIX = 'mmconvnext::'
INSTALLED = Path(__file__).parents[1] / '.mim' / 'configs'
# Of the arguments of ConvNeXtPretrained, those about the backbone; the others are about the file
OF_THE_BACKBONE = ('adapt_stem', 'final_norm')
DICTIONARIES = (
    *('train_dataloader', 'val_dataloader', 'test_dataloader', 'train_cfg', 'val_cfg', 'test_cfg'),
    *('optim_wrapper', 'default_hooks', 'env_cfg', 'randomness'),
)


def load_config(path: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """Reads a config file and applies ``--cfg-options`` to it; what follows from the backbone follows.

    Raises:
        UserError: If there is no such file, an option does not fit it, or the backbone's arguments are wrong.
    """
    cfg = read_config(path)
    set_options(cfg, as_tree(options, cfg))
    return cfg


def read_config(path: str | Path) -> Config:
    """Reads a config file, as it is.

    Args:
        path: The file, or ``mmconvnext::`` and its path below the package's configs.

    Raises:
        UserError: If there is none, if it cannot be read, or if it is not the config of a model.
    """
    by_name = str(path).startswith(PREFIX)
    file = INSTALLED / str(path).removeprefix(PREFIX) if by_name else Path(path).expanduser()
    if not file.is_file():
        raise UserError(
            f'there is no config file {path}.{_meant(file, by_name)} Those of this package are under configs/ and, '
            f'wherever it is installed, {PREFIX}detection/... and {PREFIX}segmentation/...'
        )
    try:
        cfg = Config.fromfile(str(file))
        model = cfg.get('model')  # a lazy config is resolved when it is asked for
    except SyntaxError as error:
        raise UserError(f'{path} is not Python: {error}') from error
    except (TypeError, LookupError, NameError, AttributeError, ImportError, OSError, ConfigParsingError) as error:
        if is_ours(error):
            raise
        if 'cannot inherit from base' in str(error):
            name = str(error).partition('=')[0]
            raise UserError(
                f'{path}: {name} is a dictionary here and none in the config of _base_. To put it in the place of '
                f'that one, write {name}=dict(_delete_=True, ...).'
            ) from error
        hint = ''
        if isinstance(error, ImportError) and 'mmpretrain' in str(error):
            hint = (
                " For its ConvNeXt MMPretrain is not needed: write custom_imports=dict(imports=['mmconvnext']) and "
                "type='ConvNeXt' in a config of your own; docs/troubleshooting.md has both lines."
            )
        raise UserError(f'{path} cannot be read: {type(error).__name__}: {error}{hint}') from error
    if not isinstance(model, ConfigDict):
        raise UserError(f'{path} has no model=dict(...), so there is nothing to train or test.')
    return cfg


def as_tree(options: Mapping[str, Any] | None, cfg: Config) -> ConfigDict:
    """``--cfg-options`` as a tree: ``{'model.backbone.arch': 'base'}`` as ``{'model': {'backbone': ...}}``.

    Args:
        options: By dotted name.
        cfg: What they are for. Where it has a value that is no dictionary, a dictionary takes its place.

    Raises:
        UserError: If one contradicts another.
    """
    options = copy.deepcopy(dict(options or {}))
    for name, value in options.items():
        _replace_what_is_no_dictionary(value, cfg, tuple(name.split('.')))
    tree = Config()
    try:
        tree.merge_from_dict(options)
    except TypeError as error:
        raise UserError(f'--cfg-options contradict each other: {", ".join(options)}.') from error
    return ConfigDict({key: tree[key] for key in tree})


def set_options(cfg: Config, asked: ConfigDict) -> None:
    """Sets values of a config; what follows from the backbone follows.

    Args:
        cfg: Changed in place.
        asked: From :func:`as_tree`. It stays as it is.

    Raises:
        UserError: If an option does not fit the config, or the backbone's arguments are wrong.
    """
    try:
        cfg.merge_from_dict(copy.deepcopy(asked))
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(f'--cfg-options does not fit the config: {error.args[0]}') from error
    _check_forms(cfg)
    follow_in_backbone(cfg.model, asked.get('model'))
    follow_backbone(cfg.model, asked.get('model'))


def _check_forms(cfg: Config) -> None:
    """Checks the form of the settings that this package works on: whatever it meets there may be anything else."""
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
    for key in DICTIONARIES[:3]:
        if isinstance(loader := cfg.get(key), ConfigDict):
            forms.append((f'{key}.dataset', loader.get('dataset'), ConfigDict, 'a dictionary'))
            for count in ('num_workers', 'batch_size'):
                forms.append((f'{key}.{count}', loader.get(count, 1), int, 'a whole number'))
    for key, value, kind, words in forms:
        if not isinstance(value, kind):
            raise UserError(f'{key} is {value!r}; it must be {words}.', key=key)


def is_segmentation(cfg: Config) -> bool:
    """Whether the config trains a segmentor; otherwise it trains a detector.

    Raises:
        UserError: If its default scope is neither MMDetection's nor MMSegmentation's.
    """
    scope = cfg.get('default_scope')
    if scope not in ('mmdet', 'mmseg'):
        raise UserError(f"default_scope is {scope!r}; it must be 'mmdet' (detection) or 'mmseg' (segmentation).")
    return scope == 'mmseg'


def set_data_root(cfg: Config, data_root: Path) -> None:
    """Moves every dataset of the config to another ``data_root``, and the annotations that its evaluators read.

    Raises:
        UserError: If the config has no dataset with a ``data_root``.
    """
    old_roots = []
    for node in walk([cfg[key] for key in cfg if key.endswith('_dataloader')]):
        if 'data_root' in node:
            old_roots.append(node.data_root)
            node.data_root = str(data_root)
    if not old_roots:
        raise UserError('--data-root has nothing to move: no dataset of the config has a data_root.')
    if 'data_root' in cfg:
        cfg.data_root = str(data_root)
    for node in walk([cfg[key] for key in cfg if key.endswith('_evaluator')]):
        for old in old_roots:
            if old and Path(node.get('ann_file') or '').is_relative_to(old):
                node.ann_file = str(data_root / Path(node.ann_file).relative_to(old))
                break


def set_pretrained(cfg: Config, pretrained: str) -> list[str]:
    """Starts the backbone from a checkpoint (a path or URL), or, given ``none``, from random weights.

    Other initializers of its ``init_cfg`` stay, and so does what the loader was told about the backbone.

    Returns:
        Notes on what is dropped, since it was about the checkpoint before, such as its ``prefix``.
    """
    backbone = find_backbone(cfg.model)
    given = backbone.get('init_cfg') or []
    given = list(given) if isinstance(given, list | tuple) else [given]
    loaders = [node for node in given if 'checkpoint' in node]
    rest: list[Any] = [node for node in given if 'checkpoint' not in node]
    options = {key: node[key] for node in loaders for key in OF_THE_BACKBONE if key in node}
    if pretrained == 'none':
        options = {}
    else:
        rest.append(dict(type='ConvNeXtPretrained', checkpoint=pretrained, **options))
    backbone.init_cfg = rest[0] if len(rest) == 1 else rest or None
    dropped = {key: node[key] for node in loaders for key in node if key not in ('type', 'checkpoint', *options)}
    if not dropped:
        return []
    listed = ', '.join(f'{key}={value!r}' for key, value in dropped.items())
    return [f"the backbone's init_cfg had {listed} for {loaders[0].checkpoint}, which another checkpoint replaces"]


def add_hook(cfg: Config, **hook: Any) -> None:
    """Adds a hook of this run alone; ``custom_hooks`` would be built again from the config that it leaves behind."""
    cfg.run_hooks = [*cfg.get('run_hooks', []), hook]


def set_tta(cfg: Config) -> None:
    """Tests with the config's test-time augmentation.

    Raises:
        UserError: If the config has none.
    """
    if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
        raise UserError(
            '--tta needs tta_model and tta_pipeline in the config. The segmentation configs have them; MMDetection '
            'cannot merge masks over augmented images, so the detection configs have none.'
        )
    if cfg.model.type == cfg.tta_model.type:  # a config written down by a test with --tta
        return
    cfg.model.test_cfg.update(cfg.get('tta_test_cfg', {}))
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)


def _replace_what_is_no_dictionary(value: Any, cfg: Config, path: NodePath) -> None:
    """Marks the dictionaries of an option as MMEngine wants it where the config has a value of another kind."""
    if not isinstance(value, dict):
        return
    old, parent = look_up(cfg, path), look_up(cfg, path[:-1])
    if isinstance(old, Mapping) or (isinstance(old, list | tuple) and all(str(key).isdigit() for key in value)):
        for key, child in value.items():
            _replace_what_is_no_dictionary(child, cfg, (*path, str(key)))
    elif isinstance(parent, Mapping | Config) and path[-1] in parent:
        value['_delete_'] = True


def _meant(file: Path, by_name: bool) -> str:
    """What a missing config may have been meant to be, as a sentence."""
    beside = {path.name: str(path) for path in file.parent.glob('*.py')}
    installed = {
        path.name: f'{PREFIX}{path.relative_to(INSTALLED).as_posix()}' for path in INSTALLED.glob('[!_]*/*.py')
    }
    known = installed | ({} if by_name else beside)
    close = [known[name] for name in difflib.get_close_matches(file.name, known, n=3, cutoff=0.8)]
    return f' Did you mean {" or ".join(close)}?' if close else ''
