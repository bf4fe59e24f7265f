"""The configs of Noisy Student's stages: plain ones, that tools/train.py and tools/test.py run too."""

import copy
import json
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmconvnext.config_tree import as_list, look_up
from mmconvnext.datasets.label_split import is_split
from mmconvnext.errors import UserError
from mmconvnext.semi.pseudo_labels import thresholds
from mmconvnext.semi.settings import Settings
from mmconvnext.whole_files import written_whole


def labelled_dataset(cfg: Config) -> ConfigDict:
    """Returns the dataset that a config trains on.

    Raises:
        UserError: If it is no plain dataset with an annotation file, such as MMDetection's CocoDataset.
    """
    dataset = look_up(cfg, ('train_dataloader', 'dataset'))
    if not isinstance(dataset, ConfigDict) or 'ann_file' not in dataset:
        raise UserError(
            f'{cfg.filename}: train_dataloader.dataset must be that of the labelled images alone, a CocoDataset '
            'without a dataset around it. The unlabelled ones are added to it.',
            key='train_dataloader.dataset',
        )
    return dataset


def write_unlabelled(cfg: Config, settings: Settings, path: Path) -> int:
    """Writes the list of images without labels, with the categories of the labelled ones.

    COCO's own list, ``image_info_unlabeled2017.json``, has none, and no detector can be tested on it so.

    Args:
        cfg: Of the teacher.
        settings: Which images.
        path: The file to write.

    Returns:
        How many images there are.

    Raises:
        UserError: If a file is missing or is no COCO file, if it has other categories, if it has no image, or if a
            threshold is of no class.
    """
    dataset = labelled_dataset(cfg)
    root = Path(dataset.get('data_root') or '')
    source = root / settings.ann_file
    categories = _read(root / dataset.ann_file, 'categories')['categories']
    content = _read(source, 'images')
    thresholds(settings.selection.score_thr, {category['id']: category['name'] for category in categories})
    if content.get('categories') and content['categories'] != categories:
        raise UserError(
            f'{source} has other categories than {root / dataset.ann_file}. Give it the same, in the same order, or '
            'none.',
            path=source,
        )
    if not content['images']:
        raise UserError(f'{source} lists no images.', path=source)
    with written_whole(path) as unfinished, unfinished.open('w', encoding='ascii') as file:
        json.dump({**content, 'annotations': [], 'categories': categories}, file)
    return len(content['images'])


def predict_on(cfg: Config, settings: Settings, unlabelled: Path, results: Path) -> Config:
    """Returns a teacher's config that tests on the images without labels, and writes COCO's format of results.

    Drop path and the training's augmentation are off in a test, so that the labels are without noise.

    Args:
        cfg: The teacher's; it stays as it is.
        settings: Where the images are.
        unlabelled: From :func:`write_unlabelled`.
        results: The files begin with this; ``.bbox.json`` and, with masks, ``.segm.json`` follow.
    """
    cfg = _stage(cfg)
    dataset = cfg.test_dataloader.dataset
    dataset.update(
        ann_file=str(unlabelled.absolute()),
        data_root=labelled_dataset(cfg).get('data_root'),
        data_prefix=settings.data_prefix,
        pipeline=[transform for transform in dataset.pipeline if transform.get('type') != 'LoadAnnotations'],
    )
    for evaluator in as_list(cfg.test_evaluator):
        evaluator.update(ann_file=str(unlabelled.absolute()), format_only=True, outfile_prefix=str(results))
    return cfg


def train_on(cfg: Config, settings: Settings, pseudo_labels: Path) -> Config:
    """Returns a student's config that trains on labelled images and on those that its teacher has labelled.

    Both are augmented alike. Of every batch, the first images are labelled and the others are not, in the numbers of
    ``batch_ratio``, so that the losses of both count alike if these are equal.

    Args:
        cfg: The student's; it stays as it is.
        settings: Where the images are, and how the two are mixed.
        pseudo_labels: Annotation file of the teacher's labels.

    Raises:
        UserError: If the batch cannot be divided so.
    """
    cfg = _stage(cfg)
    loader = cfg.train_dataloader
    labelled = labelled_dataset(cfg)
    batch_size, ratio = loader.batch_size, settings.batch_ratio
    if batch_size % sum(ratio):
        raise UserError(
            f'train_dataloader.batch_size={batch_size} cannot be divided by noisy_student.batch_ratio={ratio}; it must '
            f'be a multiple of {sum(ratio)}.',
            batch_size=batch_size,
            ratio=ratio,
        )
    if look_up(cfg, ('train_cfg', 'max_iters')) is None:
        raise UserError(
            f'{cfg.filename}: train_cfg has no max_iters. The length of a student is counted in steps, since an epoch '
            "of two sets of images is not defined: train_cfg=dict(type='IterBasedTrainLoop', max_iters=...).",
            key='train_cfg.max_iters',
        )
    pseudo: dict[str, Any] = copy.deepcopy(labelled)
    pseudo.update(ann_file=str(pseudo_labels.absolute()), data_prefix=settings.data_prefix)
    if settings.oversample_thr:
        pseudo = dict(type='ClassBalancedDataset', oversample_thr=settings.oversample_thr, dataset=pseudo)
    loader.dataset = dict(type='ConcatDataset', datasets=[labelled, pseudo])
    loader.sampler = dict(type='MultiSourceSampler', batch_size=batch_size, source_ratio=list(ratio))
    loader.batch_sampler = None  # grouping by aspect ratio would mix the two in other numbers
    return cfg


def _stage(cfg: Config) -> Config:
    cfg = copy.deepcopy(cfg)
    cfg.pop('noisy_student', None)  # it is about the whole run
    return cfg


def _read(path: Path, key: str) -> dict[str, Any]:
    """Reads a COCO file that must have a list of this name."""
    if not path.is_file():
        split = ' tools/split_labels.py makes it.' if is_split(path) else ''
        raise UserError(f'there is no {path}.{split}', path=path)
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f'{path} is not JSON: {error}.', path=path) from error
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise UserError(f'{path} has no list of {key}, so it is no COCO file.', path=path, missing=key)
    return content
