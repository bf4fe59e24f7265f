"""Checks images and label maps of semantic segmentation: what would end a training, or make it learn nonsense."""

from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.listing import absent, contents, is_remote, some

SAMPLE = 20  # label maps that are read; all of ADE20K's take minutes
IGNORED = 255  # what MMSegmentation's LoadAnnotations turns the label 0 into


def check_label_maps(dataset: Any, name: str, pipeline_reduces_zero: bool | None) -> None:
    """Checks that a segmentation dataset has images, each with a label map, and reads a sample of the label maps.

    Args:
        dataset: A ``BaseSegDataset`` that has not loaded anything yet.
        name: What the config calls it, such as ``train_dataloader.dataset``.
        pipeline_reduces_zero: ``reduce_zero_label`` of its pipeline's ``LoadAnnotations``; None follows the dataset.

    Raises:
        DataError: At the first thing that is wrong.
    """
    if dataset.metainfo.get('classes') is None:
        raise DataError(f"{name} has no classes; give it metainfo=dict(classes=('first', 'second')).")
    if pipeline_reduces_zero is not None and pipeline_reduces_zero != dataset.reduce_zero_label:
        raise DataError(
            f'{name}.reduce_zero_label is {dataset.reduce_zero_label}, but LoadAnnotations in its pipeline has '
            f'reduce_zero_label={pipeline_reduces_zero}. Give both the same: True if the label 0 means "no class" (as '
            'in ADE20K), False if it is the first class.'
        )
    folders = dataset.data_prefix
    if any(is_remote(folder, dataset.backend_args) for folder in folders.values() if folder):
        return
    if not folders.get('seg_map_path'):
        raise DataError(f'{name}.data_prefix has no seg_map_path; it must name the folder of the label maps.')
    samples = dataset.load_data_list()
    if not samples:
        raise DataError(
            f'{folders["img_path"]} has no {dataset.img_suffix} images; it {contents(folders["img_path"])}. If the '
            f'images have another suffix, set {name}.img_suffix.'
        )
    missing_images = absent(sample['img_path'] for sample in samples)  # those that a list of names asks for
    if missing_images:
        raise DataError(
            f'{dataset.ann_file} lists {len(samples)} images, and {len(missing_images)} of them are not there: '
            f'{some(missing_images)}. It must list names without the suffix, which is {name}.img_suffix, now '
            f'{dataset.img_suffix!r}.'
        )
    maps = [sample['seg_map_path'] for sample in samples]
    missing = absent(maps)
    if missing:
        raise DataError(
            f'{len(missing)} of {len(samples)} images in {folders["img_path"]} have no label map. Not there: '
            f'{some(missing)}.\nThe folder {folders["seg_map_path"]} {contents(folders["seg_map_path"])}. A label map '
            f'has the name of its image with {name}.seg_map_suffix, now {dataset.seg_map_suffix!r}, in place of '
            f'{dataset.img_suffix!r}.'
        )
    step = -(-len(maps) // SAMPLE)
    for path in maps[::step]:
        _check_values(path, dataset, name)


def _check_values(path: str, dataset: Any, name: str) -> None:
    try:
        with Image.open(path) as image:
            labels = np.asarray(image).squeeze()
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f'the label map {path} cannot be read: {error}.') from error
    if labels.ndim != 2:
        raise DataError(
            f'the label map {path} has {labels.shape[-1]} channels; it must have one, whose values are class numbers. '
            'Colour maps (a colour for each class) have to be converted first; a PNG with a palette is fine.'
        )
    classes = dataset.metainfo['classes']
    # A dataset with a fixed list of classes of which some are used maps their numbers; see BaseSegDataset
    count = len(dataset.label_map) if dataset.label_map else len(classes)
    first = 1 if dataset.reduce_zero_label else 0
    allowed = [*range(first + count), IGNORED]
    unknown = np.setdiff1d(labels, allowed)
    if unknown.size:
        raise DataError(
            f'the label map {path} has the values {some(unknown.tolist(), 10)}, but {name} has {count} classes and '
            f'reduce_zero_label={dataset.reduce_zero_label}: a pixel must be {_meaning(first, count)}.\n'
            f'Set metainfo (and num_classes of the heads) to all classes, or number the labels so. (Looked at a sample '
            f'of at most {SAMPLE} label maps.)'
        )


def _meaning(first: int, count: int) -> str:
    zero = '0 (no class), ' if first else ''
    return f'{zero}{first} to {first + count - 1} (the classes in order), or {IGNORED} (ignored)'
