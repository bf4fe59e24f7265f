"""Checks images and label maps of semantic segmentation: what would end a training, or make it learn nonsense."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.image_files import UNREADABLE, check_files, check_image_files, read_header
from mmconvnext.datasets.listing import absent, contents, first_few, is_remote

SAMPLE = 20  # label maps that are read; all of ADE20K's take minutes
IGNORED = 255  # what MMSegmentation's LoadAnnotations turns the label 0 into; it reads maps as 8-bit numbers
IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.gif', '.ppm', '.jp2')  # in lower case


@dataclass
class _Values:
    """What the label maps of the sample hold.

    Args:
        pixels: How many pixels have a value, by value.
        maps: How many maps have a value, by value.
        unknown: Paths of maps with values that are no class, and these values.
    """

    pixels: Counter[int] = field(default_factory=Counter)
    maps: Counter[int] = field(default_factory=Counter)
    unknown: dict[str, list[int]] = field(default_factory=dict)


def check_label_maps(
    findings: Findings,
    dataset: Any,
    name: str,
    pipeline_reduces_zero: bool | None,
    *,
    needs_maps: bool = True,
    eight_bits: bool = True,
    turns: bool = True,
) -> None:
    """Checks that a segmentation dataset has images, each with a label map, and reads a sample of the label maps.

    Args:
        findings: Where faults of the files go.
        dataset: A ``BaseSegDataset`` that has not loaded anything yet.
        name: What the config calls it, such as ``train_dataloader.dataset``.
        pipeline_reduces_zero: ``reduce_zero_label`` of its pipeline's ``LoadAnnotations``; None follows the dataset.
        needs_maps: Whether there is something to learn or evaluate; a test that only writes results needs none.
        eight_bits: Whether its label maps are read by MMSegmentation's ``LoadAnnotations``, as 8-bit numbers.
        turns: Whether the loader turns images as their EXIF orientation says.

    Raises:
        DataError: If the config is wrong, or there are no images.
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
    if needs_maps and not folders.get('seg_map_path'):
        raise DataError(
            f'{name}.data_prefix has no seg_map_path; it must name the folder of the label maps. A test set without '
            "label maps needs test_evaluator=dict(type='IoUMetric', format_only=True, output_dir=...) and a pipeline "
            'without LoadAnnotations.'
        )
    samples = dataset.load_data_list()
    if not samples:
        raise DataError(
            f'{folders["img_path"]} has no {dataset.img_suffix} images; it {contents(folders["img_path"])}. If the '
            f'images have another suffix, set {name}.img_suffix.'
        )
    images = [sample['img_path'] for sample in samples]
    maps = [sample['seg_map_path'] for sample in samples] if needs_maps else []
    _check_presence(findings, dataset, name, images, maps)
    first, count = _numbering(dataset)
    if maps and eight_bits and first + count > IGNORED:
        findings.add(
            'more-classes-than-8-bits',
            Severity.REFUSES,
            f'{folders["seg_map_path"]} ({name})',
            f'has label maps of {count} classes, but MMSegmentation reads label maps as 8-bit numbers, in which '
            f'{IGNORED} is ignored: class number {IGNORED} is not learnt, and larger numbers become those of other '
            'classes',
            f"Use at most {IGNORED - first} classes, or another transform than dict(type='LoadAnnotations').",
            count=0,
        )
    listed = dataset.ann_file or folders['img_path']
    places = [(path, None, None, os.path.basename(path)) for path in images]
    check_image_files(findings, listed, name, places, turns=turns)
    if needs_maps:
        sound = check_files(findings, f'{folders["seg_map_path"]} ({name})', 'label maps', maps)
        pairs = [(image, path) for image, path in zip(images, maps, strict=True) if path in sound]
        _check_sample(findings, dataset, name, pairs[:: max(1, -(-len(pairs) // SAMPLE))], turns)


def _check_presence(findings: Findings, dataset: Any, name: str, images: Sequence[str], maps: Sequence[str]) -> None:
    folders = dataset.data_prefix
    by_list = bool(dataset.ann_file) and os.path.isfile(dataset.ann_file)
    if missing := absent(images):  # those that a list of names asks for
        finding = findings.add(
            'images-missing',
            Severity.REFUSES,
            f'{dataset.ann_file} ({name})',
            'images of the list are not there',
            f'It must list names without the suffix, which is {name}.img_suffix, now {dataset.img_suffix!r}.',
            count=len(missing),
            total=len(images),
        )
        finding.examples = missing[:3]
    if missing := absent(maps):
        finding = findings.add(
            'maps-missing',
            Severity.REFUSES,
            f'{folders["img_path"]} ({name})',
            'images have no label map; not there',
            f'The folder {folders["seg_map_path"]} {contents(folders["seg_map_path"])}. A label map has the name of '
            f'its image with {name}.seg_map_suffix, now {dataset.seg_map_suffix!r}, in place of '
            f'{dataset.img_suffix!r}.',
            count=len(missing),
            total=len(maps),
        )
        finding.examples = missing[:3]
    if by_list:
        return
    known = {os.path.abspath(path) for path in (*images, *maps)}
    others = [
        path
        for path in _files_below(folders['img_path'])
        if path.lower().endswith(IMAGES) and not path.endswith(dataset.img_suffix) and path not in known
    ]
    if others:
        suffixes = Counter(os.path.splitext(path)[1] for path in others)
        alike = suffixes.keys() == {os.path.splitext(dataset.img_suffix)[1]}  # such as _left.png and _right.png
        finding = findings.add(
            'images-of-another-suffix',
            Severity.HARMLESS if alike else Severity.LEFT_OUT,
            f'{folders["img_path"]} ({name})',
            f'image files do not end in {name}.img_suffix {dataset.img_suffix!r} and are not used '
            f'({", ".join(f"{count} end in {suffix}" for suffix, count in suffixes.items())})',
            'Convert or rename them if they are meant; capitals count. Or join two datasets, each with its img_suffix, '
            'by ConcatDataset.',
            count=len(others),
            total=len(others) + len(images),
        )
        finding.examples = [os.path.basename(path) for path in others[:3]]
    if not maps or os.path.abspath(folders['img_path']) == os.path.abspath(folders['seg_map_path']):
        return
    alone = [
        path
        for path in _files_below(folders['seg_map_path'])
        if path.endswith(dataset.seg_map_suffix) and path not in known
    ]
    if alone:
        finding = findings.add(
            'maps-without-image',
            Severity.LEFT_OUT,
            f'{folders["seg_map_path"]} ({name})',
            f'label maps have no image of the same name that ends in {dataset.img_suffix!r}, and are not used',
            'Add the images, if they are meant.',
            count=len(alone),
            total=len(alone) + len(maps),
        )
        finding.examples = [os.path.basename(path) for path in alone[:3]]


def _check_sample(findings: Findings, dataset: Any, name: str, pairs: Sequence[tuple[str, str]], turns: bool) -> None:
    listed = f'{dataset.data_prefix["seg_map_path"]} ({name})'
    allowed = _allowed(dataset)
    values = _Values()
    for image, path in pairs:
        labels = _read_labels(findings, listed, path, len(pairs))
        if labels is None:
            continue
        _check_size(findings, listed, image, path, labels, turns, len(pairs))
        for value, count in zip(*np.unique(labels, return_counts=True), strict=True):
            values.pixels[int(value)] += int(count)
            values.maps[int(value)] += 1
            if value not in allowed:
                values.unknown.setdefault(path, []).append(int(value))
    _check_values(findings, listed, dataset, name, values, len(pairs))


def _read_labels(findings: Findings, listed: str, path: str, total: int) -> np.ndarray | None:
    """Returns the (H, W) whole numbers of a label map; None if it has none, which is a finding."""

    def refuse(kind: str, what: str, remedy: str, example: str) -> None:
        findings.add(kind, Severity.REFUSES, listed, what, remedy, example=example, total=total)

    header = read_header(findings, listed, 'label maps', path, False)
    if header is None:
        return None
    if header.format == 'JPEG':
        refuse(
            'map-jpeg',
            'label maps that were read are JPEG files, and JPEG changes the values of pixels, so that these are no '
            'class numbers any more',
            'Save the maps as PNG, from where they were made; converting these keeps the changed values. Then set '
            "seg_map_suffix='.png'.",
            path,
        )
        return None
    try:
        with Image.open(path) as image:
            mode, labels = image.mode, np.asarray(image).squeeze()
    except UNREADABLE as error:
        refuse('label-maps-damaged', 'label maps that were read cannot be read', 'Get them again.', f'{path}: {error}')
        return None
    if labels.ndim != 2:
        grey = mode in ('RGB', 'RGBA', 'LA') and (mode == 'LA' or bool((labels[..., :3] == labels[..., :1]).all()))
        refuse(
            'map-grey-in-channels' if grey else 'map-colours',
            f'label maps that were read have {labels.shape[-1]} channels; one is needed, whose values are class '
            'numbers',
            'Keep the first channel alone: Image.open(path).getchannel(0).save(path of the new map).'
            if grey
            else 'Colour maps (a colour for each class) have to be converted first; a PNG with a palette is fine.',
            f'{path} ({mode})',
        )
        return None
    if labels.dtype.kind == 'f':
        if not np.array_equal(labels, np.round(labels)):
            refuse(
                'map-fractions',
                'label maps that were read hold fractions',
                'A pixel must be a class number; save the maps as PNG of 8 bits.',
                f'{path} ({mode})',
            )
            return None
        labels = labels.astype(np.int64)
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def _check_size(
    findings: Findings, listed: str, image: str, path: str, labels: np.ndarray, turns: bool, total: int
) -> None:
    # What is wrong with the image itself was found before
    header = read_header(Findings(), listed, 'images', image, turns) if os.path.isfile(image) else None
    size = (labels.shape[1], labels.shape[0])
    if header is None or header.loaded == size:
        return
    pair = f'{path} is {size[0]}x{size[1]}, its image {image} {header.loaded[0]}x{header.loaded[1]}'
    if header.stored == size:
        findings.add(
            'map-size-exif',
            Severity.REFUSES,
            listed,
            'label maps that were read lie otherwise than their images, which are turned when they are loaded, as '
            'their EXIF orientation says',
            'Save the images without the EXIF tag, or load them as stored: '
            "dict(type='LoadImageFromFile', color_type='color_ignore_orientation') in every pipeline.",
            example=f'{pair} as loaded (EXIF orientation {header.orientation})',
            total=total,
        )
        return
    findings.add(
        'map-size',
        Severity.REFUSES,
        listed,
        'label maps that were read have another size than their images',
        'Make them of the same size, without smoothing: Image.open(path).resize(size, Image.NEAREST). If the sides '
        'differ in proportion too, the map is not of this image.',
        example=pair,
        total=total,
    )


def _allowed(dataset: Any) -> frozenset[int]:
    first, count = _numbering(dataset)
    return frozenset([*range(first + count), IGNORED])


def _numbering(dataset: Any) -> tuple[int, int]:
    """Returns the label of the first class, and how many classes there are."""
    # A dataset with a fixed list of classes of which some are used maps their numbers; see BaseSegDataset
    count = len(dataset.label_map) if dataset.label_map else len(dataset.metainfo['classes'])
    return (1 if dataset.reduce_zero_label else 0), count


def _check_values(findings: Findings, listed: str, dataset: Any, name: str, values: _Values, total: int) -> None:
    first, count = _numbering(dataset)
    seen = set(values.pixels) - {IGNORED}
    if values.unknown:
        unknown = sorted({value for of_map in values.unknown.values() for value in of_map})
        said = [f'{value} ({values.pixels[value]} pixels)' for value in unknown]
        hint = ''
        if first == 0 and unknown == [count]:
            hint = ' If 0 means "no class" and the classes start at 1, set reduce_zero_label=True.'
        elif len(unknown) > count and count < 20:
            hint = ' So many values are those of a picture, of instances, or of a map that was resized with smoothing.'
        finding = findings.add(
            'map-values',
            Severity.REFUSES,
            listed,
            f'label maps that were read have values that are no class, {first_few(said, 10)}; {name} has {count} '
            f'classes and reduce_zero_label={dataset.reduce_zero_label}, so a pixel must be {_meaning(first, count)}',
            'Set metainfo (and num_classes of the heads) to all classes, or number the labels so.' + hint,
            count=len(values.unknown),
            total=total,
        )
        finding.examples = [
            f'{path} has the values {first_few(of_map, 10)}' for path, of_map in list(values.unknown.items())[:3]
        ]
    elif first == 0 and seen == {0} and values.pixels[IGNORED]:
        in_most = 2 * values.maps[IGNORED] >= total
        findings.add(
            'map-0-255',
            Severity.REFUSES if in_most else Severity.CHANGES,
            listed,
            f'label maps that were read hold 0 and 255 alone, with no pixel of class 1; 255 is ignored, so that '
            f'nothing but the first class, {dataset.metainfo["classes"][0]!r}, is learnt and evaluated',
            'If white (255) is a class, make it 1: '
            'Image.fromarray((np.array(Image.open(path)) > 127).astype(np.uint8)).save(path of the new map).',
            count=values.maps[IGNORED],
            total=total,
        )
    elif first == 1 and 0 in seen and count not in seen and seen == set(range(count)):
        findings.add(
            'map-zero-is-a-class',
            Severity.CHANGES,
            listed,
            f'label maps that were read have every value from 0 to {count - 1} and none has {count}, which '
            f'with reduce_zero_label=True is the last of {count} classes; 0 is ignored',
            f'If 0 is the first class, set {name}.reduce_zero_label=False.',
            count=total,
        )


def _files_below(folder: str) -> list[str]:
    """Absolute paths of the files in a folder and those in it, as MMSegmentation looks for them: no hidden ones."""
    found = []
    for base, _, names in os.walk(os.path.abspath(folder)):
        found += [os.path.join(base, name) for name in names if not name.startswith('.')]
    return sorted(found)


def _meaning(first: int, count: int) -> str:
    zero = '0 (no class), ' if first else ''
    return f'{zero}{first} to {first + count - 1} (the classes in order), or {IGNORED} (ignored)'
