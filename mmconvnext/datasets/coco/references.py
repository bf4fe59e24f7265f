"""Checks how the records of a COCO annotation file refer to each other: ids, and categories that are listed twice."""

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from mmconvnext.datasets.coco.records import Annotation, Category, Image, Records, kind_of
from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.listing import first_few


def check_references(findings: Findings, path: str, records: Records, *, evaluated: bool) -> None:
    """Checks ids. ``records`` keeps only the records that count, and its ``mends`` get the changes that are needed.

    Args:
        findings: Gets what was found.
        path: The file.
        records: Changed in place.
        evaluated: Whether the file is the truth of an evaluation.
    """
    for key, listed in (('images', records.images), ('categories', records.categories)):
        _check_kinds(findings, path, key, listed)
    records.images = _unique_images(findings, path, records)
    _check_files(findings, path, records.images)
    records.categories = _unique_categories(findings, path, records)
    _check_pointers(findings, path, records)
    _check_annotation_ids(findings, path, records, evaluated=evaluated)


def _check_kinds(findings: Findings, path: str, key: str, listed: Sequence[Image] | Sequence[Category]) -> None:
    """Refuses a list where some ids are text and some numbers, since pycocotools cannot sort them."""
    text = next((record for record in listed if isinstance(record.id, str)), None)
    number = next((record for record in listed if not isinstance(record.id, str)), None)
    if text and number:
        examples = [f'{key}[{record.place}] has id {record.id!r}, {kind_of(record.id)}' for record in (text, number)]
        what = f'has {key} some of whose ids are text and some numbers: {" and ".join(examples)}'
        findings.add(f'{key}-ids-mixed', Severity.REFUSES, path, what, 'Write all as numbers.', count=0)


def _unique_images(findings: Findings, path: str, records: Records) -> list[Image]:
    first: dict[Any, Image] = {}
    for image in records.images:
        other = first.setdefault(image.id, image)
        if other is image:
            continue
        example = f'images[{other.place}] and images[{image.place}] have id {image.id!r}'
        if other[1:] == image[1:]:
            records.mends.left_out.setdefault('images', set()).add(image.place)
            what = 'images repeat another one, id included'
            findings.add('images-repeated', Severity.MENDED, path, what, 'Each is read once.', example=example)
        else:
            what = 'images have the id of another one'
            findings.add('image-ids-repeated', Severity.REFUSES, path, what, 'Ids must be unique.', example=example)
    return list(first.values())


def _check_files(findings: Findings, path: str, images: Sequence[Image]) -> None:
    """Reports files that are listed under several ids: on each, the others' objects would be learnt as background."""
    count = Counter(image.file_name for image in images)
    if len(count) == len(images):
        return
    for name, times in count.items():
        if times > 1:
            findings.add(
                'images-of-one-file',
                Severity.CHANGES,
                path,
                'files are listed as several images, each with an id and annotations of its own',
                'On each, the objects of the others are learnt as background; list a file once, with all its objects.',
                example=f'{name}, {times} times',
                total=len(count),
            )


def _unique_categories(findings: Findings, path: str, records: Records) -> list[Category]:
    first: dict[Any, Category] = {}
    for category in records.categories:
        other = first.setdefault(category.id, category)
        if other is category:
            continue
        example = f'categories[{other.place}] and categories[{category.place}] have id {category.id!r}'
        if other.name == category.name:
            records.mends.left_out.setdefault('categories', set()).add(category.place)
            what = 'categories repeat another one, id and name the same'
            findings.add('categories-repeated', Severity.MENDED, path, what, 'Each is read once.', example=example)
        else:
            findings.add(
                'category-ids-repeated',
                Severity.REFUSES,
                path,
                'categories have the id of another one, with another name',
                'Ids must be unique.',
                example=f'{example}, named {other.name!r} and {category.name!r}',
            )
    categories = list(first.values())
    repeated = [name for name, times in Counter(category.name for category in categories).items() if times > 1]
    if not repeated:
        return categories
    used = Counter(annotation.category_id for annotation in records.annotations)
    for name in repeated:
        same = [category for category in categories if category.name == name]
        unused = [category for category in same if not used[category.id]]
        parents = [category for category in unused if _is_parent_only(category, same)]
        superfluous = parents if len(parents) == len(same) - 1 else unused
        if len(superfluous) == len(same) - 1:
            for category in superfluous:
                records.mends.left_out.setdefault('categories', set()).add(category.place)
                findings.add(
                    'categories-unused',
                    Severity.MENDED,
                    path,
                    'categories have the name of another one, and no annotation',
                    'They are left out.',
                    example=f'categories[{category.place}] (id {category.id!r}, {name!r})',
                )
            categories = [category for category in categories if category not in superfluous]
        else:
            listed = ', '.join(f'categories[{c.place}] (id {c.id!r}, {used[c.id]} annotations)' for c in same)
            findings.add(
                'category-names-repeated',
                Severity.REFUSES,
                path,
                'names of categories are used more than once',
                'Each class needs a name of its own: rename all but one, or remove those without annotations.',
                example=f'{name!r} by {listed}',
            )
    return categories


def _is_parent_only(category: Category, same: Iterable[Category]) -> bool:
    """Returns whether a category is the project that Roboflow lists as the parent of a class of the same name."""
    has_no_parent = category.parent in (None, '', 'none')
    return has_no_parent and any(other.parent == category.name for other in same if other is not category)


def _check_pointers(findings: Findings, path: str, records: Records) -> None:
    total = records.count.get('annotations', 0)
    images = {image.id: image for image in records.images}
    categories = {category.id: category for category in records.categories}
    kept = []
    # The same few ids are looked up many times, so each is turned into text only once
    alike: dict[str, dict[str, Any]] = {
        'image_id': {str(image_id): image for image_id, image in images.items()},
        'category_id': {str(category_id): category for category_id, category in categories.items()},
    }
    by_name: dict[Any, Image] = {}
    if any(isinstance(image_id, str) and image_id not in images for _, _, image_id, *_ in records.annotations):
        by_name = {name: image for image in records.images for name in _names(image)}
    for annotation in records.annotations:
        sound = True
        for key, value, listed, name in (
            ('image_id', annotation.image_id, images, 'images'),
            ('category_id', annotation.category_id, categories, 'categories'),
        ):
            if value in listed:
                continue
            sound = False
            meant = alike[key].get(str(value))
            if meant is not None:
                findings.add(
                    f'{key}-of-another-kind',
                    Severity.REFUSES,
                    path,
                    f'annotations have {kind_of(value)} as {key}, but the {name} have {kind_of(meant.id)} as id',
                    'Write both as numbers.',
                    example=f'annotations[{annotation.place}] has {key} {value!r}, '
                    f'{name}[{meant.place}] has id {meant.id!r}',
                    total=total,
                )
            elif key == 'image_id' and value in by_name:
                image = by_name[value]
                findings.add(
                    'image_id-is-name',
                    Severity.REFUSES,
                    path,
                    'annotations have the file name of an image as image_id, not its id',
                    'Write the id of the image.',
                    example=f'annotations[{annotation.place}] has image_id {value!r}, and images[{image.place}] '
                    f'({image.file_name}) has id {image.id!r}',
                    total=total,
                )
                break
            elif key == 'image_id' and value in records.listed_images:
                break  # what the image lacks is reported
            elif key == 'image_id':
                findings.add(
                    'annotations-of-unlisted-images',
                    Severity.LEFT_OUT,
                    path,
                    'annotations are of images that the file does not list',
                    example=str(annotation),
                    total=total,
                )
                break  # nothing reads its category
            else:
                findings.add(
                    'category_id-unlisted',
                    Severity.REFUSES,
                    path,
                    'annotations have a category_id that the file does not list, and MMDetection would drop them',
                    f'Its categories have ids such as {first_few((repr(c) for c in categories), 5)}: add the missing '
                    'ones, or check whether one of the two starts at 0 and the other at 1.',
                    example=f'annotations[{annotation.place}] has category_id {value!r}',
                    total=total,
                )
        if sound:
            kept.append(annotation)
    records.annotations = kept


def _names(image: Image) -> set[str]:
    """Returns the name of an image's file, with and without folder and suffix."""
    name = os.path.basename(image.file_name)
    return {image.file_name, name, os.path.splitext(name)[0]}


def _check_annotation_ids(findings: Findings, path: str, records: Records, *, evaluated: bool) -> None:
    annotations = records.annotations
    total = records.count.get('annotations', 0)
    without = [annotation for annotation in annotations if annotation.id is None]
    if without:
        records.mends.renumber = True
        what = 'annotations have no id, or one that is no number'
        finding = findings.add(
            'annotation-ids', Severity.MENDED, path, what, 'They are numbered.', count=len(without), total=total
        )
        finding.examples = [str(annotation) for annotation in without[:3]]
    zeros = [annotation for annotation in annotations if annotation.id == 0] if evaluated else []
    if zeros:
        records.mends.renumber = True
        findings.add(
            'annotation-id-0',
            Severity.MENDED,
            path,
            "annotations have the id 0, which pycocotools takes for 'no match', so that its detection counts as wrong",
            'Annotations are numbered from 1 for the evaluation.',
            count=len(zeros),
            example=str(zeros[0]),
            total=total,
        )
    if len({annotation.id for annotation in annotations}) + max(len(without) - 1, 0) == len(annotations):
        return
    first: dict[Any, Annotation] = {}
    kept = []
    for annotation in annotations:
        other = first.setdefault(annotation.id, annotation) if annotation.id is not None else annotation
        if other is annotation:
            kept.append(annotation)
            continue
        if _content(other) == _content(annotation):
            records.mends.left_out.setdefault('annotations', set()).add(annotation.place)
            what, remedy = 'annotations repeat another one, id included', 'Each is read once.'
            findings.add(
                'annotations-repeated', Severity.MENDED, path, what, remedy, example=str(annotation), total=total
            )
        else:
            kept.append(annotation)
            records.mends.renumber = True
            findings.add(
                'annotation-ids-repeated',
                Severity.MENDED,
                path,
                'annotations have the id of another one',
                'They are numbered.',
                example=f'annotations[{other.place}] and annotations[{annotation.place}] have id {annotation.id!r}',
                total=total,
            )
    records.annotations = kept


def _content(annotation: Annotation) -> tuple[Hashable, ...]:
    return annotation[2:]
