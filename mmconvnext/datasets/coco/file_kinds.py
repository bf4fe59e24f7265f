"""Recognises, by their content, files of other kinds that people give as COCO annotation files."""

import re
from collections.abc import Collection
from typing import Any

# The first bytes, what the file is, and what to do. None of MMEngine's file backends reads these as JSON
MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b'\x1f\x8b', 'is compressed by gzip', 'Unpack it: gzip -dc < {path} > new.json'),
    (b'PK\x03\x04', 'is a ZIP archive', 'Unpack it, and name the annotation file that was in it.'),
    (b'BZh', 'is compressed by bzip2', 'Unpack it: bzip2 -dc < {path} > new.json'),
    (b'\xfd7zXZ', 'is compressed by xz', 'Unpack it: xz -dc < {path} > new.json'),
    (b'(\xb5/\xfd', 'is compressed by zstd', 'Unpack it: zstd -dc < {path} > new.json'),
    (b'7z\xbc\xaf', 'is a 7z archive', 'Unpack it, and name the annotation file that was in it.'),
    (b'\xff\xd8\xff', 'is a JPEG image', 'ann_file names the JSON file; images are in the folder of data_prefix.'),
    (b'\x89PNG', 'is a PNG image', 'ann_file names the JSON file; images are in the folder of data_prefix.'),
    *((bytes([0x80, version]), 'is a Python pickle', 'Write what it holds as JSON.') for version in (2, 3, 4, 5)),
    (b'SQLite format 3', 'is an SQLite database', 'Export it in COCO format.'),
    (b'PAR1', 'is a Parquet file', 'Export it in COCO format.'),
)
COCO = 'ann_file must name a COCO annotation file, in JSON, with images, annotations and categories.'
EXPORT = f'{COCO} Export or convert the labels in COCO format.'
# A pattern for the first lines, what the file is, and what to do
TEXTS: tuple[tuple[str, str, str], ...] = (
    (r'version https://git-lfs', 'is a Git LFS pointer, not the file itself', 'Fetch it: git lfs pull'),
    (r'(<\?xml[^>]*>\s*)?<annotation\b', 'is XML, as in Pascal VOC', f'{EXPORT} type="VOCDataset" reads VOC itself.'),
    (r'<!doctype html|<html', 'is a web page, as failed downloads are', 'Download the file itself.'),
    (r'<', 'is XML', EXPORT),
    (r'(?s).*?^(names|nc|train|val|path)\s*:', 'is YAML, like the data.yaml of YOLO', EXPORT),
    (r'\d+( -?[\d.]+){4,}\s*$', 'is a list of numbers, like the labels of YOLO', EXPORT),
    (r'[^\n{}\[\]]*[,;\t][^\n{}\[\]]*[,;\t][^\n{}\[\]]*$', 'is a table, such as CSV', EXPORT),
)
START = 4096  # characters that are compared with the patterns


def other_bytes(content: bytes, path: object) -> tuple[str, str] | None:
    """Returns what a file that is not text is, and what to do; None if it may be text."""
    for start, what, remedy in MAGIC:
        if content.startswith(start):
            return what, remedy.format(path=path)
    if content[257:262] == b'ustar':
        return 'is a tar archive', 'Unpack it, and name the annotation file that was in it.'
    return None


def other_text(text: str) -> tuple[str, str] | None:
    """Returns what a text file that is not JSON is, and what to do; None if it is of no known kind."""
    start = text[:START].lstrip()
    for pattern, what, remedy in TEXTS if start[:1] not in ('{', '[') else ():
        if re.match(pattern, start, re.IGNORECASE | re.MULTILINE):
            return what, remedy
    if re.match(r"\{\s*'|\[\s*\{\s*'", start):
        return 'is written as Python prints a dict, with single quotes', 'Write it with json.dump.'
    return None


def other_list(first: Any) -> tuple[str, str] | None:
    """Returns what a JSON list is, judging by its first item, and what to do; None if it is of no known kind."""
    keys = set(first) if isinstance(first, dict) else set()
    if {'image_id', 'score'} <= keys:
        return (
            'is a list of results: detections with a score',
            f'{COCO} Results are compared with it.',
        )
    if {'image_id', 'bbox'} <= keys:
        return 'is only the list of annotations', COCO
    if {'image', 'annotations'} <= keys:
        return 'is a list as CreateML writes it', EXPORT
    if {'data', 'annotations'} <= keys:
        return 'is the JSON of Label Studio', 'Export it from there in COCO format.'
    return None


def other_object(keys: Collection[str]) -> tuple[str, str] | None:
    """Returns what a JSON object is, judging by its keys, and what to do; None if it is of no known kind."""
    if 'shapes' in keys and 'imagePath' in keys:
        return 'is a file of LabelMe, for one image', 'labelme2coco and others join them to one COCO annotation file.'
    if '_via_img_metadata' in keys:
        return 'is a project of VIA', 'Export it from there: Annotation, Export Annotations, COCO format.'
    return None
