"""Checks that each image of a segmentation dataset has its label map: names, suffixes, folders, lists of names."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.listing import absent, contents

IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.gif', '.ppm', '.jp2')  # in lower case
ARRAYS = ('.npy', '.npz', '.mat')  # in lower case


def check_pairs(findings: Findings, dataset: Any, name: str, images: Sequence[str], maps: Sequence[str]) -> None:
    """Checks that images and label maps exist, and that none is left over.

    Args:
        findings: Gets what was found.
        dataset: A ``BaseSegDataset``.
        name: What the config calls it, such as ``train_dataloader.dataset``.
        images: Paths of its images.
        maps: Paths of their label maps, in the same order; empty if none are needed.
    """
    by_list = bool(dataset.ann_file) and os.path.isfile(dataset.ann_file)
    if by_list and (missing := set(absent(images))):
        _add_missing_images(findings, dataset, name, images, missing)
        maps = [path for image, path in zip(images, maps, strict=False) if image not in missing]
    among = [] if by_list else _maps_among_images(dataset, images)
    if among and maps:
        _add_maps_among_images(findings, dataset, name, among, len(images))
        return
    _check_maps_exist(findings, dataset, name, maps)
    if by_list:
        return
    known = {os.path.abspath(path) for path in (*images, *maps)}
    _check_other_images(findings, dataset, name, known, len(images))
    folders = dataset.data_prefix
    if maps and os.path.abspath(folders['img_path']) != os.path.abspath(folders['seg_map_path']):
        _check_other_maps(findings, dataset, name, known, len(maps))


def are_exchanged(dataset: Any) -> bool:
    """Returns whether, by their suffixes, images are in the folder of label maps and label maps in that of images."""
    images, maps = dataset.data_prefix['img_path'], dataset.data_prefix.get('seg_map_path')
    if not maps or dataset.img_suffix == dataset.seg_map_suffix:
        return False
    return _has(maps, dataset.img_suffix) and _has(images, dataset.seg_map_suffix)


def _add_missing_images(
    findings: Findings, dataset: Any, name: str, images: Sequence[str], missing: Collection[str]
) -> None:
    """Adds a finding for the names in a list that have no image, with the cause if it can be told."""
    file = f'{dataset.ann_file} ({name})'
    folder, suffix = dataset.data_prefix['img_path'], dataset.img_suffix
    blank = os.path.join(folder, suffix)
    if count := sum(path == blank for path in images if path in missing):
        findings.add(
            'list-blank-lines',
            Severity.REFUSES,
            file,
            'lines of the list are blank, and each of them is taken for the name of an image',
            'Remove the blank lines.',
            count=count,
            total=len(images),
        )
    named = [path for path in images if path in missing and path != blank]
    if not named:
        return
    remedy = f'A line is the name of an image below {folder}, without the suffix, {name}.img_suffix {suffix!r}.'
    if suffix and not absent(path.removesuffix(suffix) for path in named):
        remedy += ' The names in the list have that suffix already; remove it.'
    elif all(len(path.removeprefix(folder).split()) > 1 for path in named):
        remedy += ' Lines of the list have several names, or names with spaces.'
    finding = findings.add(
        'images-missing',
        Severity.REFUSES,
        file,
        'images of the list are not there',
        remedy,
        count=len(named),
        total=len(images),
    )
    finding.examples = named[:3]


def _maps_among_images(dataset: Any, images: Sequence[str]) -> list[str]:
    """Returns the paths that are read as images but are label maps, such as ``1_mask.png`` beside ``1.png``."""
    image, label = dataset.img_suffix, dataset.seg_map_suffix
    if not label.endswith(image) or label == image:
        return []
    known = set(images)
    return [path for path in images if path.endswith(label) and path.removesuffix(label) + image in known]


def _add_maps_among_images(findings: Findings, dataset: Any, name: str, among: Sequence[str], total: int) -> None:
    finding = findings.add(
        'maps-among-images',
        Severity.REFUSES,
        f'{dataset.data_prefix["img_path"]} ({name})',
        f'files that end in {name}.img_suffix {dataset.img_suffix!r}, and are read as images, are the label maps of '
        f'others: they end in {name}.seg_map_suffix {dataset.seg_map_suffix!r}',
        f'Put the label maps into a folder of their own, or list the names of the images, without {dataset.img_suffix}'
        f', one per line in a text file, and set {name}.ann_file to it.',
        count=len(among),
        total=total,
    )
    finding.examples = [os.path.basename(path) for path in among[:3]]


def _check_maps_exist(findings: Findings, dataset: Any, name: str, maps: Sequence[str]) -> None:
    missing = absent(maps)
    if not missing:
        return
    folder, suffix = dataset.data_prefix['seg_map_path'], dataset.seg_map_suffix
    remedy = (
        f'The folder {folder} {contents(folder)}. A label map has the name of its image with {name}.seg_map_suffix, '
        f'now {suffix!r}, in place of {dataset.img_suffix!r}.'
    )
    if _has(folder, ARRAYS):
        remedy += (
            ' Label maps are read as pictures; save an array as one: '
            "Image.fromarray(numpy.load('a.npy').astype(numpy.uint8)).save('a.png')."
        )
    finding = findings.add(
        'maps-missing',
        Severity.REFUSES,
        f'{dataset.data_prefix["img_path"]} ({name})',
        'images have no label map; these files do not exist',
        remedy,
        count=len(missing),
        total=len(maps),
    )
    finding.examples = missing[:3]


def _check_other_images(findings: Findings, dataset: Any, name: str, known: set[str], total: int) -> None:
    folder, suffix = dataset.data_prefix['img_path'], dataset.img_suffix
    others = [
        path
        for path in _files_below(folder)
        if path.lower().endswith(IMAGES) and not path.endswith(suffix) and path not in known
    ]
    if not others:
        return
    suffixes = Counter(os.path.splitext(path)[1] for path in others)
    alike = suffixes.keys() == {os.path.splitext(suffix)[1]}  # such as _left.png and _right.png
    finding = findings.add(
        'images-of-another-suffix',
        Severity.HARMLESS if alike else Severity.LEFT_OUT,
        f'{folder} ({name})',
        f'image files do not end in {name}.img_suffix {suffix!r} and are not used '
        f'({", ".join(f"{count} end in {ending}" for ending, count in suffixes.items())})',
        'Convert or rename them if they are to be used; upper and lower case matter. Or join two datasets, each with '
        'its own img_suffix, in a ConcatDataset.',
        count=len(others),
        total=len(others) + total,
    )
    finding.examples = [os.path.basename(path) for path in others[:3]]


def _check_other_maps(findings: Findings, dataset: Any, name: str, known: set[str], total: int) -> None:
    folder, suffix = dataset.data_prefix['seg_map_path'], dataset.seg_map_suffix
    alone = [path for path in _files_below(folder) if path.endswith(suffix) and path not in known]
    if not alone:
        return
    finding = findings.add(
        'maps-without-image',
        Severity.LEFT_OUT,
        f'{folder} ({name})',
        f'label maps have no image of the same name that ends in {dataset.img_suffix!r}, and are not used',
        'Add the images if these maps are to be used.',
        count=len(alone),
        total=len(alone) + total,
    )
    finding.examples = [os.path.basename(path) for path in alone[:3]]


def _has(folder: str, endings: str | tuple[str, ...]) -> bool:
    return any(path.endswith(endings) for path in _files_below(folder))


def _files_below(folder: str) -> list[str]:
    """Returns the absolute paths of the files below a folder, without hidden ones, as MMSegmentation does."""
    found = []
    for base, _, names in os.walk(os.path.abspath(folder)):
        found += [os.path.join(base, name) for name in names if not name.startswith('.')]
    return sorted(found)
