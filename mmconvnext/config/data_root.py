"""Moves the datasets of a config to another folder."""

from pathlib import Path

from mmengine.config import Config

from mmconvnext.config_tree import walk
from mmconvnext.errors import UserError


def set_data_root(cfg: Config, data_root: Path) -> None:
    """Sets the ``data_root`` of every dataset, and moves the annotation files of the evaluators along.

    Args:
        cfg: Changed in place.
        data_root: The new folder.

    Raises:
        UserError: If no dataset of the config has a ``data_root``, or the new one is a file.
    """
    if data_root.is_file():
        yolo = " YOLO's format is not read; convert it to COCO's." if data_root.suffix in ('.yaml', '.yml') else ''
        raise UserError(f'--data-root {data_root} is a file; give the folder of the data.{yolo}', path=data_root)
    old_roots = []
    for node in walk([cfg[key] for key in cfg if key.endswith('_dataloader')]):
        if 'data_root' in node:
            old_roots.append(node.data_root)
            node.data_root = str(data_root)
    if not old_roots:
        raise UserError('--data-root has no effect: no dataset of the config has a data_root.')
    if 'data_root' in cfg:
        cfg.data_root = str(data_root)
    for node in walk([cfg[key] for key in cfg if key.endswith('_evaluator')]):
        for old in old_roots:
            if old and Path(node.get('ann_file') or '').is_relative_to(old):
                node.ann_file = str(data_root / Path(node.ann_file).relative_to(old))
                break
