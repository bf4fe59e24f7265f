"""Compares the class names of a checkpoint and of the datasets of a run: a head knows numbers, not names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset

from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.listing import first_few

SHOWN = 3  # classes that a message names


@dataclass(frozen=True)
class Difference:
    """The differences between two lists of class names. Case and spaces do not count.

    Args:
        moved: Names that are in both lists under different numbers, with the number in the first and in the second.
        renamed: Pairs of names that have the same number, where neither is in the other list.
    """

    moved: dict[str, tuple[int, int]]
    renamed: list[tuple[str, str]]

    def __str__(self) -> str:
        """The first few names that moved, or else those that changed."""
        if self.moved:
            shown = [f'{name!r} is number {one} there and {two} here' for name, (one, two) in self.moved.items()]
        else:
            shown = [f'{one!r} there is {two!r} here' for one, two in self.renamed]
        return ', '.join(shown[:SHOWN]) + (f' and {len(shown) - SHOWN} more' if len(shown) > SHOWN else '')


def compare(there: Sequence[str], here: Sequence[str]) -> Difference:
    """Compares two lists of class names. The number of a class is its place in the list."""
    one, two = ([' '.join(name.split()).casefold() for name in names] for names in (there, here))
    # A name that stands twice in a list has no number of its own
    shared = [name for name in one if one.count(name) == two.count(name) == 1]
    return Difference(
        moved={here[two.index(n)]: (one.index(n), two.index(n)) for n in shared if one.index(n) != two.index(n)},
        renamed=[(there[i], here[i]) for i, (a, b) in enumerate(zip(one, two)) if a not in two and b not in one],
    )


def classes_of_checkpoint(meta: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Returns the class names that a checkpoint was trained with; None if it does not name them.

    Args:
        meta: The entry ``meta`` of the checkpoint's file.
    """
    of_dataset = meta.get('dataset_meta')
    # MMDetection 3 writes the second form, version 2 the third
    for place, key in ((of_dataset, 'classes'), (of_dataset, 'CLASSES'), (meta, 'CLASSES')):
        names = place.get(key) if isinstance(place, Mapping) else None
        if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
            return tuple(names)
    return None


def classes_of_dataset(dataset: Any) -> tuple[str, ...] | None:
    """Returns the class names of a dataset; None if it has none."""
    names = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    return tuple(names) if isinstance(names, list | tuple) else None


def compare_datasets(datasets: Mapping[str, Any]) -> Findings:
    """Compares the classes of the datasets that one model learns from and is evaluated on.

    Args:
        datasets: The datasets, with their wrappers, by their names in the config, such as ``train_dataloader.dataset``.
    """
    findings = Findings()
    known = [
        (name, classes)
        for top, dataset in datasets.items()
        for name, part in _unwrapped(dataset, top)
        if (classes := classes_of_dataset(part))
    ]
    for name, classes in known[1:]:
        first_name, first = known[0]
        difference = compare(first, classes)
        if difference.moved:
            findings.add(
                'classes-in-another-order',
                Severity.REFUSES,
                name,
                f'has its classes in another order than {first_name}: {difference}. The model has one order for both, '
                'so correct predictions would count as wrong',
                f'Give both the same metainfo, with {order_of(first)}.',
                count=0,
            )
        elif difference.renamed:
            findings.add(
                'classes-of-other-names',
                Severity.CHANGES,
                name,
                f'has other class names than {first_name}: {difference}. The model takes them for the same classes, '
                'since they have the same numbers',
                'If they are not, give both the same metainfo.classes.',
                count=0,
            )
    return findings


def order_of(classes: Sequence[str]) -> str:
    """Writes class names as a config does; of more than ten, only the first ones."""
    return f'classes={tuple(classes)!r}' if len(classes) <= 10 else f'the order {first_few(classes, 10)}'


def _unwrapped(dataset: Any, name: str) -> Iterator[tuple[str, Any]]:
    parts = getattr(dataset, 'datasets', None)
    if isinstance(parts, list | tuple):
        for index, part in enumerate(parts):
            yield from _unwrapped(part, f'{name}.datasets.{index}')
    elif isinstance(getattr(dataset, 'dataset', None), Dataset):
        yield from _unwrapped(dataset.dataset, f'{name}.dataset')
    else:
        yield name, dataset
