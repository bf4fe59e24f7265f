"""Checks images and label maps of segmentation for faults that would end a training or make it learn nonsense."""

import filecmp
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.image_damage import UNREADABLE
from mmconvnext.datasets.image_files import check_files, check_image_files, read_header
from mmconvnext.datasets.image_map_pairs import are_exchanged, check_pairs
from mmconvnext.datasets.label_files import LabelMap, read_label_map
from mmconvnext.datasets.label_values import IGNORED, LabelValues, check_values, numbering, values_of
from mmconvnext.datasets.listing import contents, is_remote
from mmconvnext.datasets.palettes import Colour, check_palettes

SAMPLE = 20  # label maps that are read; all of ADE20K's take minutes
ONE_CHANNEL = ('1', 'L', 'P')  # modes of Pillow that may hold labels


@dataclass(frozen=True)
class CheckedMaps:
    """The outcome of the check of a segmentation dataset.

    Args:
        images: Paths of its images; empty if the dataset is not on the local file system.
        has_255: Whether a sample of its label maps holds 255 after LoadAnnotations has read them.
    """

    images: Sequence[str] = ()
    has_255: bool = False


def check_label_maps(
    findings: Findings,
    dataset: Any,
    name: str,
    pipeline_reduces_zero: bool | None,
    *,
    needs_maps: bool = True,
    eight_bits: bool = True,
    turns: bool = True,
    loads_8_bits: bool = True,
    ignored: frozenset[int] = frozenset({IGNORED}),
) -> CheckedMaps:
    """Checks that a segmentation dataset has images, each with a label map, and reads a sample of the label maps.

    Args:
        findings: Gets what was found.
        dataset: A ``BaseSegDataset`` that has not loaded anything yet.
        name: What the config calls it, such as ``train_dataloader.dataset``.
        pipeline_reduces_zero: ``reduce_zero_label`` of its pipeline's ``LoadAnnotations``; None follows the dataset.
        needs_maps: Whether there is something to learn or evaluate; a test that only writes results needs none.
        eight_bits: Whether its label maps are read by MMSegmentation's ``LoadAnnotations``, as 8-bit numbers.
        turns: Whether the loader turns images as their EXIF orientation says.
        loads_8_bits: Whether images are loaded by OpenCV with 8 bits a channel.
        ignored: The labels, as loaded, that the heads of the model ignore.

    Returns:
        What the checks that follow need.

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
        return CheckedMaps()
    if needs_maps and not folders.get('seg_map_path'):
        raise DataError(
            f'{name}.data_prefix has no seg_map_path; it must name the folder of the label maps. A test set without '
            "label maps needs test_evaluator=dict(type='IoUMetric', format_only=True, output_dir=...) and a pipeline "
            'without LoadAnnotations.'
        )
    samples = dataset.load_data_list()
    if not samples:
        raise DataError(_no_images(dataset, name))
    images = [sample['img_path'] for sample in samples]
    maps = [sample['seg_map_path'] for sample in samples] if needs_maps else []
    check_pairs(findings, dataset, name, images, maps)
    if maps and eight_bits:
        _check_classes(findings, dataset, name)
    listed = dataset.ann_file or folders['img_path']
    places = [(path, None, None, os.path.basename(path)) for path in images]
    check_image_files(findings, listed, name, places, turns=turns, eight_bits=loads_8_bits)
    values = values_of(dataset, ignored)
    if needs_maps:
        sound = check_files(findings, f'{folders["seg_map_path"]} ({name})', 'label maps', maps)
        pairs = [(image, path) for image, path in zip(images, maps, strict=True) if path in sound]
        pairs = pairs[:: max(1, -(-len(pairs) // SAMPLE))]
        _check_sample(findings, dataset, name, pairs, values, turns=turns, eight_bits=eight_bits)
    return CheckedMaps(images, eight_bits and values.has_255)


def _no_images(dataset: Any, name: str) -> str:
    folder, suffix = dataset.data_prefix['img_path'], dataset.img_suffix
    if dataset.ann_file and os.path.isfile(dataset.ann_file):
        return f'{dataset.ann_file}, {name}.ann_file, lists no names.'
    message = f'{folder} has no {suffix} images; it {contents(folder)}. '
    if are_exchanged(dataset):
        maps = dataset.data_prefix['seg_map_path']
        return f'{message}The {suffix} files are in {maps}: exchange img_path and seg_map_path of {name}.data_prefix.'
    return f'{message}If the images have another suffix, set {name}.img_suffix.'


def _check_classes(findings: Findings, dataset: Any, name: str) -> None:
    """Checks that there are neither too few nor too many classes."""
    listed = f'{dataset.data_prefix["seg_map_path"]} ({name})'
    first, count = numbering(dataset)
    classes = dataset.metainfo['classes']
    if len(classes) == 1:
        findings.add(
            'one-class',
            Severity.REFUSES,
            listed,
            f'has label maps of one class, {classes[0]!r}. Each pixel gets the likeliest class, so that with one class '
            'the loss is always 0 and nothing is learnt',
            f"Make the background a class: metainfo=dict(classes=('background', {classes[0]!r})), num_classes=2 in "
            'the heads, reduce_zero_label=False, and label maps of 0 and 1. docs/your_own_data.md shows how, also '
            'with a single output and a threshold.',
            count=0,
        )
    if first + count > IGNORED:
        findings.add(
            'more-classes-than-8-bits',
            Severity.REFUSES,
            listed,
            f'has label maps of {count} classes, but MMSegmentation reads label maps as 8-bit numbers, in which '
            f'{IGNORED} is ignored: class number {IGNORED} is not learnt, and larger numbers become those of other '
            'classes',
            f"Use at most {IGNORED - first} classes, or another transform than dict(type='LoadAnnotations').",
            count=0,
        )


def _check_sample(
    findings: Findings,
    dataset: Any,
    name: str,
    pairs: Sequence[tuple[str, str]],
    values: LabelValues,
    *,
    turns: bool,
    eight_bits: bool,
) -> None:
    listed = f'{dataset.data_prefix["seg_map_path"]} ({name})'
    colours: dict[str, dict[int, Colour]] = {}
    for image, path in pairs:
        if _is_no_map(findings, listed, image, path, values, len(pairs)):
            continue
        label_map = read_label_map(findings, listed, path, len(pairs), known=eight_bits)
        if label_map is None:
            continue
        _check_size(findings, listed, image, path, label_map.labels, turns, len(pairs))
        present = values.count(path, label_map.labels)
        if label_map.palette is not None:
            colours[path] = _colours(label_map, present)
    check_palettes(findings, listed, colours)
    if len(dataset.metainfo['classes']) > 1:
        check_values(findings, listed, dataset, name, values)


def _is_no_map(findings: Findings, listed: str, image: str, path: str, values: LabelValues, total: int) -> bool:
    """Returns whether the label map of a pair is the image itself, or the two are exchanged; adds a finding then."""
    if not os.path.isfile(image):
        return False
    if filecmp.cmp(image, path, shallow=False):
        findings.add(
            'map-is-its-image',
            Severity.REFUSES,
            listed,
            'label maps that were read are the images themselves',
            'Give data_prefix the folder of the images as img_path and that of the label maps as seg_map_path.',
            example=path,
            total=total,
        )
        return True
    try:
        with Image.open(image) as one, Image.open(path) as other:
            if one.mode not in ONE_CHANNEL or other.mode in ONE_CHANNEL:
                return False
            pixels = set(np.unique(np.asarray(one)).tolist())
    except UNREADABLE:  # it is reported where they are read
        return False
    if not pixels <= values.known | values.ignored:
        return False
    findings.add(
        'images-and-maps-exchanged',
        Severity.REFUSES,
        listed,
        'label maps that were read are pictures, and their images hold class numbers',
        'Exchange img_path and seg_map_path of data_prefix.',
        example=f'{path} is the label map of {image}',
        total=total,
    )
    return True


def _colours(label_map: LabelMap, present: Sequence[int]) -> dict[int, Colour]:
    """Returns the colours of the numbers that a map holds."""
    palette = label_map.palette
    if palette is None:
        return {}
    red, green, blue = palette[: max(present) + 1].T.tolist()
    return {label: (red[label], green[label], blue[label]) for label in present if label < len(palette)}


def _check_size(
    findings: Findings, listed: str, image: str, path: str, labels: np.ndarray, turns: bool, total: int
) -> None:
    # Faults of the image itself were reported before
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
            'label maps that were read are not turned as their images are, which the loader turns by their EXIF '
            'orientation',
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
        'Make them of the same size, without smoothing: Image.open(path).resize(size, Image.NEAREST). If their '
        'proportions differ too, the map belongs to another image.',
        example=pair,
        total=total,
    )
