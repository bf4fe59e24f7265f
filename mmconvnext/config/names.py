"""Notices settings that nothing reads, because their names are misspelt or belong to another version."""

import ast
import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmengine.config import Config

from mmconvnext.config.options import Options
from mmconvnext.config_tree import look_up, walk_with_path
from mmconvnext.datasets.listing import first_few
from mmconvnext.errors import UserError

# What MMEngine's runner, OpenMMLab's tools and this package's own read at the top level of a config
TOP_LEVEL = (
    *('model', 'work_dir', 'data_root', 'dataset_type', 'backend_args', 'custom_imports', 'custom_hooks'),
    *('train_dataloader', 'val_dataloader', 'test_dataloader', 'train_cfg', 'val_cfg', 'test_cfg'),
    *('val_evaluator', 'test_evaluator', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr', 'default_hooks'),
    *('data_preprocessor', 'load_from', 'resume', 'launcher', 'env_cfg', 'log_processor', 'log_level', 'visualizer'),
    *('vis_backends', 'default_scope', 'randomness', 'experiment_name', 'runner_type', 'tta_model', 'tta_pipeline'),
    *('model_wrapper_cfg', 'find_unused_parameters', 'compile', 'noisy_student'),
)

# Names of TOP_LEVEL that a config uses only while it is read. Setting one later does nothing; the text says what does
VARIABLES = {
    'data_root': '--data-root FOLDER moves the data',
    'dataset_type': 'set the type of each dataset',
    'backend_args': 'set those of each dataset',
}

# Names of variables in configs, such as test_pipeline and tta_test_cfg, which are not misspelt settings
VARIABLE = re.compile('tta_|.*_(pipeline|args)$|(conv|norm|act)_cfg$')

# What MMDetection 2 and MMSegmentation 0 read at the top level of a config, and what replaces it today
OUTDATED = {
    'data': 'train_dataloader, val_dataloader and test_dataloader',
    'optimizer': 'optim_wrapper=dict(optimizer=...)',
    'optimizer_config': 'optim_wrapper=dict(clip_grad=...)',
    'fp16': "optim_wrapper=dict(type='AmpOptimWrapper')",
    'lr_config': 'param_scheduler',
    'momentum_config': 'param_scheduler',
    'runner': 'train_cfg=dict(max_epochs=...) or train_cfg=dict(max_iters=...)',
    'total_epochs': 'train_cfg=dict(max_epochs=...)',
    'evaluation': 'val_evaluator, and train_cfg=dict(val_interval=...)',
    'checkpoint_config': 'default_hooks=dict(checkpoint=...)',
    'log_config': 'default_hooks=dict(logger=...)',
    'resume_from': 'load_from and resume=True, or --resume',
    'workflow': 'train_cfg and val_cfg',
    'dist_params': 'env_cfg=dict(dist_cfg=...)',
}


def unread_names(cfg: Config, options: Options) -> list[str]:
    """Returns a note for each setting that nothing reads, as far as that can be known.

    Args:
        cfg: The config before the options are applied.
        options: What the user set.

    Raises:
        UserError: If the whole config is of MMDetection 2 or MMSegmentation 0. ``facts['outdated']`` has its names.
    """
    outdated = [name for name in OUTDATED if name in cfg]
    if outdated and not any(cfg.get(f'{split}_dataloader') for split in ('train', 'val', 'test')):
        lines = [f'    {name} is now {OUTDATED[name]}' for name in outdated]
        raise UserError(
            'this config is of MMDetection 2 or MMSegmentation 0, whose names nothing reads any more:\n'
            + '\n'.join(lines)
            + '\nTake a config of this package as _base_, and set there what yours has.',
            outdated=outdated,
        )
    notes = [f'the config has {name}, which nothing reads; it is now {OUTDATED[name]}' for name in _outdated(cfg)]
    notes += [
        f'the config has {name}, which nothing reads; did you mean {meant}?' for name, meant in misspelt(cfg).items()
    ]
    for name in options.tree:
        if (name in TOP_LEVEL and name not in VARIABLES) or name.startswith('tta_'):
            continue
        if name in OUTDATED:
            now = [f'it is now {OUTDATED[name]}']
        else:
            now = [VARIABLES[name]] if name in VARIABLES else _places_of(cfg, name)
        why = 'it was used while the file was read' if name in cfg else f'the config has no {name}'
        notes.append(f'--cfg-options {name}: {why}, and nothing reads it{"".join(f"; {one}" for one in now)}')
    notes += [
        f'--cfg-options {new}: the config has no such key, but it has {old}'
        for new, old in _beside_similar(cfg, options)
    ]
    return notes


def misspelt(cfg: Config) -> dict[str, str]:
    """Returns the top-level names of a config that nothing reads, each with the name that was likely meant."""
    others = [name for name in cfg if name not in (*TOP_LEVEL, *OUTDATED) and not VARIABLE.match(name)]
    close = {name: difflib.get_close_matches(name, TOP_LEVEL, n=1, cutoff=0.8) for name in others}
    return {name: found[0] for name, found in close.items() if found}


def _outdated(cfg: Config) -> list[str]:
    """Returns the outdated names that a config sets, except variables such as MMSegmentation's ``optimizer``."""
    made = [cfg.get('optim_wrapper'), look_up(cfg, ('optim_wrapper', 'optimizer'))]
    names = [name for name in OUTDATED if cfg.get(name) is not None and cfg[name] not in made]
    if not cfg.filename or not cfg.filename.endswith('.py'):
        return names
    tree = ast.parse(Path(cfg.filename).read_text(encoding='utf-8'))
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    read = {node.id for node in used if isinstance(node.ctx, ast.Load)}
    # A name that only a base config has may be a variable there
    return [name for name in names if name in {node.id for node in used} - read]


def _places_of(cfg: Config, name: str) -> list[str]:
    """Returns a question that says where a config has this key below its top level, or nothing if it does not."""
    places = ['.'.join((*path, name)) for top in cfg for path, node in walk_with_path(cfg[top], (top,)) if name in node]
    return [f'did you mean {first_few(places)}?'] if places else []


def _beside_similar(cfg: Config, options: Options) -> Iterator[tuple[str, str]]:
    """Yields each option that adds a key beside one with a similar name, and that similar key."""
    for path in options.paths():
        for end in range(2, len(path) + 1):
            parent = look_up(cfg, path[: end - 1])
            if not isinstance(parent, Mapping) or options.replaces(*path[: end - 1]):
                break
            if path[end - 1] not in parent:
                similar = difflib.get_close_matches(path[end - 1], [str(key) for key in parent], n=1, cutoff=0.8)
                if similar:
                    yield '.'.join(path), '.'.join((*path[: end - 1], similar[0]))
                break
