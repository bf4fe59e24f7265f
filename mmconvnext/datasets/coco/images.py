"""Looks for the images of an annotation file."""

import os

from mmconvnext.datasets.coco.file_names import find_images
from mmconvnext.datasets.coco.records import Records
from mmconvnext.datasets.coco.use import CocoUse
from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.listing import contents


def image_folder(use: CocoUse) -> str:
    """Returns the folder that the dataset joins each ``file_name`` to."""
    return use.dataset.data_prefix.get('img') or ''


def check_images(
    findings: Findings, path: str, records: Records, use: CocoUse
) -> list[tuple[str, int | None, int | None, str]]:
    """Looks for the images; returns path, width, height and place of those that exist."""
    folder = image_folder(use)
    missing, found = find_images(folder, [image.file_name for image in records.images])
    names = {index: image.file_name for index, image in enumerate(records.images)}
    for (short, what), spelled in found.items():
        names |= spelled
        records.mends.file_names |= {records.images[index].place: name for index, name in spelled.items()}
        index, name = next(iter(spelled.items()))
        findings.add(
            f'file-names-{short}',
            Severity.MENDED,
            path,
            f'names of images {what}',
            count=len(spelled),
            example=f'images[{records.images[index].place}] is {records.images[index].file_name!r}, read as {name!r}',
            total=len(names),
        )
    if missing:
        first = os.path.join(folder, records.images[missing[0]].file_name)
        place = folder or os.path.dirname(first) or '.'
        there = contents(place) if os.path.isdir(place) else 'is not there'
        remedy = (
            f'The folder {place} {there}. Its path is data_root and data_prefix of {use.name}; what follows is the '
            "file's file_name."
        )
        name = records.images[missing[0]].file_name
        if os.path.isabs(name):
            remedy = (
                f'Their file_name is an absolute path, so that the folder {folder!r} of {use.name} is not added: write '
                'only what follows this folder.'
            )
        elif os.path.basename(name) != name and os.path.exists(os.path.join(folder, os.path.basename(name))):
            remedy += f' {os.path.basename(name)} is there: do not repeat the folders of file_name in data_prefix.'
        finding = findings.add(
            'images-missing',
            Severity.REFUSES,
            path,
            'images do not exist',
            remedy,
            count=len(missing),
            total=len(names),
        )
        finding.examples = [os.path.join(folder, records.images[index].file_name) for index in missing[:3]]
    absent = set(missing)
    return [
        (os.path.join(folder, names[at]), image.width or None, image.height or None, f'images[{image.place}]')
        for at, image in enumerate(records.images)
        if at not in absent
    ]
