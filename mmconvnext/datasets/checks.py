"""Checks of a user's data before training: what is missing is said at once, in one message."""

from pathlib import Path

from mmengine.config import Config

COCO_LAYOUT = """\
    annotations/instances_train2017.json
    annotations/instances_val2017.json
    train2017/*.jpg
    val2017/*.jpg"""
ADE20K_LAYOUT = """\
    images/training/*.jpg
    images/validation/*.jpg
    annotations/training/*.png
    annotations/validation/*.png"""


class MissingDataError(ValueError):
    """Files or folders that a config reads are not there. The message says where they were looked for."""


def check_paths(cfg: Config, loaders: tuple[str, ...], segmentation: bool) -> None:
    """Checks that every file and folder that the config's data loaders read exists.

    Args:
        cfg: A whole config.
        loaders: Which of its loaders to check, such as ``('train_dataloader', 'val_dataloader')``.
        segmentation: Whether ADE20K's layout is the one to suggest; COCO's otherwise.

    Raises:
        MissingDataError: If any is missing, naming all of them.
    """
    missing: dict[Path, None] = {}  # an ordered set
    roots: dict[str, None] = {}
    for loader in loaders:
        dataset = cfg[loader].dataset
        while 'dataset' in dataset:  # wrappers such as RepeatDataset
            dataset = dataset.dataset
        root = Path(dataset.get('data_root') or '')
        roots[str(root)] = None
        parts = [*dataset.get('data_prefix', {}).values(), dataset.get('ann_file')]
        for path in (root / part for part in parts if part):
            if not path.exists():
                missing[path.absolute()] = None
    if not missing:
        return
    lines = ['the data of this config was not found. Looked for:']
    lines += [f'    {path}' for path in missing]
    looked_in = ', '.join(roots)
    lines += [f'Expected under the data root (--data-root, now {looked_in}):']
    lines += [ADE20K_LAYOUT if segmentation else COCO_LAYOUT]
    lines += ['Add --mini to train on small data that is made on the spot, with nothing to download.']
    raise MissingDataError('\n'.join(lines))
