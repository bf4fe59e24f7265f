"""From a config file and command-line options to the config that runs."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS

from mmconvnext.backbones import ConvNeXt
from mmconvnext.engine.tree import walk

MINI_ROOT = Path('data/mini')


def load_config(path: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """Reads a config file and applies ``--cfg-options`` to it; widths that follow from the backbone follow.

    Raises:
        ValueError: If there is no such file, an option does not fit it, or the backbone's arguments are wrong.
    """
    if not Path(path).is_file():
        raise ValueError(f'there is no config file {path}; those of this package are under configs/.')
    cfg = Config.fromfile(str(path))
    if options:
        try:
            cfg.merge_from_dict(dict(options))
        except (TypeError, KeyError) as error:
            raise ValueError(f'--cfg-options does not fit the config: {error.args[0]}') from error
    follow_backbone(cfg.model)
    return cfg


def is_segmentation(cfg: Config) -> bool:
    """Whether the config trains a segmentor; otherwise it trains a detector.

    Raises:
        ValueError: If its default scope is neither MMDetection's nor MMSegmentation's.
    """
    scope = cfg.get('default_scope')
    if scope not in ('mmdet', 'mmseg'):
        raise ValueError(f"default_scope is {scope!r}; it must be 'mmdet' (detection) or 'mmseg' (segmentation).")
    return scope == 'mmseg'


def find_backbone(model: ConfigDict) -> ConfigDict:
    """The config of the model's ConvNeXt, however deep it is nested.

    Raises:
        ValueError: If there is none.
    """
    for node in walk(model):
        if node.get('type') in ('ConvNeXt', 'mmconvnext.ConvNeXt', ConvNeXt):
            return node
    raise ValueError("the model has no backbone of type 'ConvNeXt', which is what this package is for.")


def follow_backbone(model: ConfigDict) -> None:
    """Sets the input widths of the neck, or of a segmentor's heads, to what the backbone gives.

    So a config, or ``--cfg-options model.backbone.arch=base``, names the arch and nothing else.

    Raises:
        ValueError: If the backbone's arguments are wrong.
    """
    backbone = copy.deepcopy(find_backbone(model))
    backbone.pop('init_cfg', None)
    with torch.device('meta'):  # checks the arguments at once, at no cost
        widths = MODELS.build(backbone).out_channels
    if 'neck' in model:
        model.neck.in_channels = list(widths)
        return
    for node in walk([model.get('decode_head'), model.get('auxiliary_head')]):
        if 'in_index' in node:
            index = node.in_index
            node.in_channels = widths[index] if isinstance(index, int) else [widths[i] for i in index]


def set_data_root(cfg: Config, data_root: Path) -> None:
    """Moves every dataset of the config to another ``data_root``, and the annotations that its evaluators read.

    Raises:
        ValueError: If the config has no dataset with a ``data_root``.
    """
    old_roots = []
    for node in walk([cfg[key] for key in cfg if key.endswith('_dataloader')]):
        if 'data_root' in node:
            old_roots.append(node.data_root)
            node.data_root = str(data_root)
    if not old_roots:
        raise ValueError('--data-root has nothing to move: no dataset of the config has a data_root.')
    for node in walk([cfg[key] for key in cfg if key.endswith('_evaluator')]):
        for old in old_roots:
            if old and str(node.get('ann_file', '')).startswith(old):
                node.ann_file = str(data_root / node.ann_file.removeprefix(old).lstrip('/'))


def set_pretrained(cfg: Config, pretrained: str) -> None:
    """Starts the backbone from a checkpoint (a path or URL), or, given ``none``, from random weights."""
    backbone = find_backbone(cfg.model)
    backbone.init_cfg = None if pretrained == 'none' else dict(type='ConvNeXtPretrained', checkpoint=pretrained)


def add_hook(cfg: Config, **hook: Any) -> None:
    """Adds a hook to those of the config."""
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), hook]


def set_tta(cfg: Config) -> None:
    """Tests with the config's test-time augmentation.

    Raises:
        ValueError: If the config has none.
    """
    if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
        raise ValueError(
            '--tta needs tta_model and tta_pipeline in the config. The segmentation configs have them; MMDetection '
            'cannot merge masks over augmented images, so the detection configs have none.'
        )
    cfg.model.test_cfg.update(cfg.get('tta_test_cfg', {}))
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
