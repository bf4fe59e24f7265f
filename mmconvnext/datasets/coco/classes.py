"""Compares the categories of an annotation file with the classes of the datasets that read it."""

from collections.abc import Sequence
from typing import Any

from mmconvnext.datasets.coco.records import Records
from mmconvnext.datasets.coco.use import CocoUse
from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.listing import first_few


def check_classes(
    findings: Findings, path: str, records: Records, use: CocoUse, uses: Sequence[CocoUse]
) -> set[Any] | None:
    """Compares categories with a dataset's classes; returns the ids of those that are classes, or None if refused."""
    categories = records.categories
    names = [category.name for category in categories]
    classes = use.dataset.metainfo.get('classes')

    def remedy(right: Sequence[str]) -> str:
        return f'\n{use.how_to_set_classes(right)}'

    if classes is None:
        findings.add('classes-unset', Severity.REFUSES, use.name, 'has no classes', remedy(names), count=0)
        return None
    repeated = _first_repeated(classes)
    unknown = [name for name in classes if name not in names]
    in_order = list(dict.fromkeys(name for name in names if name in classes))
    if repeated is not None:
        what = f'lists the class {repeated!r} twice'
        findings.add('classes-repeated', Severity.REFUSES, use.name, what, 'Name each once.', count=0)
        return None
    if unknown:
        what = (
            f'has other classes than {use.name} expects.\n'
            f'    expected but not in the file: {first_few(unknown, 10)}\n'
            f'    categories of the file: {first_few(names, 10)}\n'
            'MMDetection matches them by name, and would silently drop or mislabel the annotations'
        )
        findings.add('classes-unknown', Severity.REFUSES, path, what, remedy(names), count=0)
        return None
    if in_order != list(classes):
        order = [*classes, *(name for name in names if name not in classes)]
        others = [other.name for other in uses if not _keeps_classes_in_order(order, other)]
        if others:
            what = (
                f'is read with the classes in different orders by {use.name} and {first_few(others)}. MMDetection '
                'numbers them in the order of the file, so pictures and predictions would have wrong names'
            )
            findings.add('classes-order', Severity.REFUSES, path, what, remedy(in_order), count=0)
            return None
        records.mends.class_order = order
        what = f'lists its categories in another order than {use.name}, and MMDetection numbers them as the file does'
        findings.add(
            'categories-order', Severity.MENDED, path, what, 'They are read in the order of the config.', count=0
        )
    return {category.id for category in categories if category.name in classes}


def _keeps_classes_in_order(order: Sequence[str], use: CocoUse) -> bool:
    """Returns whether a file with its categories in this order numbers a dataset's classes as its config does."""
    classes = use.dataset.metainfo.get('classes') if use.dataset is not None else None
    return classes is None or [name for name in order if name in classes] == [n for n in classes if n in order]


def _first_repeated(values: Sequence[Any]) -> Any:
    return next((value for index, value in enumerate(values) if value in values[:index]), None)
