"""Checks the values of the pixels of label maps: class numbers, and labels that are ignored."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.listing import first_few

IGNORED = 255  # MMSegmentation reads maps as 8-bit numbers, and makes 255 of the label 0 if that means "no class"


@dataclass
class LabelValues:
    """The values in a sample of label maps, and how often each occurs.

    Args:
        known: The values that are class numbers.
        ignored: The values from which nothing is learnt.
        become_255: Those of ``ignored`` that become 255 when they are loaded. The heads ignore the others.
        total: How many maps were read.
        pixels: How many pixels have a value, by value.
        maps: How many maps have a value, by value.
        unknown: The values that are neither a class nor ignored, by the paths of the maps that have them.
        unlabelled: Paths of maps in which every pixel is ignored.
    """

    known: frozenset[int]
    ignored: frozenset[int]
    become_255: frozenset[int]
    total: int = 0
    pixels: Counter[int] = field(default_factory=Counter)
    maps: Counter[int] = field(default_factory=Counter)
    unknown: dict[str, list[int]] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)

    def count(self, path: str, labels: np.ndarray) -> list[int]:
        """Counts the values of a map; returns them in order."""
        found, counts = np.unique(labels, return_counts=True)
        values = found.tolist()
        self.total += 1
        self.pixels.update(dict(zip(values, counts.tolist(), strict=True)))
        self.maps.update(values)
        if unknown := [value for value in values if value not in self.known | self.ignored]:
            self.unknown[path] = unknown
        if self.ignored.issuperset(values):
            self.unlabelled.append(path)
        return values

    @property
    def has_255(self) -> bool:
        """Whether any pixel becomes 255 when it is loaded."""
        return any(self.pixels[value] for value in self.become_255)


def numbering(dataset: Any) -> tuple[int, int]:
    """Returns the label of the first class, and how many classes the label maps number."""
    # A dataset that uses only some classes of a fixed list renumbers them; see BaseSegDataset.get_label_map
    count = len(dataset.label_map) if dataset.label_map else len(dataset.metainfo['classes'])
    return (1 if dataset.reduce_zero_label else 0), count


def values_of(dataset: Any, ignored_by_heads: frozenset[int]) -> LabelValues:
    """Returns what the label maps of a ``BaseSegDataset`` may hold, with nothing counted yet."""
    first, count = numbering(dataset)
    become_255 = frozenset({IGNORED, *range(first)})
    if dataset.label_map:
        numbers = {first + old: new for old, new in dataset.label_map.items()}
        become_255 |= {label for label, new in numbers.items() if new == IGNORED}
    else:
        numbers = {first + label: label for label in ignored_by_heads - {IGNORED}}
    ignored = become_255 | {label for label, new in numbers.items() if new in ignored_by_heads}
    return LabelValues(frozenset(range(first, first + count)) - ignored, ignored, become_255)


def check_values(findings: Findings, listed: str, dataset: Any, name: str, values: LabelValues) -> None:
    """Checks the values of a sample of label maps.

    Args:
        findings: Gets what was found.
        listed: The folder of the maps, as messages name it.
        dataset: A ``BaseSegDataset``.
        name: What the config calls it, such as ``train_dataloader.dataset``.
        values: The values of the maps.
    """
    first, count = numbering(dataset)
    seen = set(values.pixels) - {IGNORED}
    if values.unknown:
        _add_unknown(findings, listed, dataset, name, values)
    elif first == 0 and seen == {0} and values.pixels[IGNORED]:
        in_most = 2 * values.maps[IGNORED] >= values.total
        findings.add(
            'map-0-255',
            Severity.REFUSES if in_most else Severity.CHANGES,
            listed,
            f'label maps that were read hold only 0 and 255, with no pixel of class 1; 255 is ignored, so that '
            f'only the first class, {dataset.metainfo["classes"][0]!r}, is learnt and evaluated',
            'If white (255) is a class, make it 1: '
            'Image.fromarray((np.array(Image.open(path)) > 127).astype(np.uint8)).save(path of the new map).',
            count=values.maps[IGNORED],
            total=values.total,
        )
    elif first == 1 and 0 in seen and count not in seen and seen == set(range(count)):
        findings.add(
            'map-zero-is-a-class',
            Severity.CHANGES,
            listed,
            f'label maps that were read have every value from 0 to {count - 1} and none has {count}, which '
            f'with reduce_zero_label=True is the last of {count} classes; 0 is ignored',
            f'If 0 is the first class, set {name}.reduce_zero_label=False.',
            count=values.total,
        )
    if 2 * len(values.unlabelled) >= values.total > 0 and values.unlabelled:
        nothing = len(values.unlabelled) == values.total
        finding = findings.add(
            'maps-ignored-throughout',
            Severity.REFUSES if nothing else Severity.CHANGES,
            listed,
            'label maps that were read have only pixels that are ignored, '
            f'{first_few(sorted(values.ignored & set(values.pixels)))}: nothing is learnt from them, and nothing is '
            'evaluated',
            f'A pixel must be {meaning(first, count)}.',
            count=len(values.unlabelled),
            total=values.total,
        )
        finding.examples = values.unlabelled[:3]


def _add_unknown(findings: Findings, listed: str, dataset: Any, name: str, values: LabelValues) -> None:
    first, count = numbering(dataset)
    unknown = sorted({value for of_map in values.unknown.values() for value in of_map})
    said = [f'{value} ({values.pixels[value]} pixels)' for value in unknown]
    hint = ''
    if first == 0 and unknown == [count]:
        hint = ' If 0 means "no class" and the classes start at 1, set reduce_zero_label=True.'
    elif len(unknown) > count and count < 20:
        hint = ' So many values suggest a picture, numbers of instances, or a map that was resized with smoothing.'
    finding = findings.add(
        'map-values',
        Severity.REFUSES,
        listed,
        f'label maps that were read have values that are no class, {first_few(said, 10)}; {name} has {count} classes '
        f'and reduce_zero_label={dataset.reduce_zero_label}, so a pixel must be {meaning(first, count)}',
        'List all classes in metainfo (and count them in num_classes of the heads), or renumber the labels.' + hint,
        count=len(values.unknown),
        total=values.total,
    )
    finding.examples = [
        f'{path} has the values {first_few(of_map, 10)}' for path, of_map in list(values.unknown.items())[:3]
    ]


def meaning(first: int, count: int) -> str:
    """Says what a pixel of a label map may be, by the label of the first class and how many classes there are."""
    zero = '0 (no class), ' if first else ''
    return f'{zero}{first} to {first + count - 1} (the classes in order), or {IGNORED} (ignored)'
