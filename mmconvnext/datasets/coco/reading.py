"""Reads JSON record by record: the objects of a whole COCO file would take several times the memory of its text."""

import gc
import json
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmconvnext.datasets.coco.file_kinds import COCO, other_bytes, other_list, other_text

WHITESPACE = re.compile(r'[ \t\n\r]*')
DECODER = json.JSONDecoder()


class UnreadableError(Exception):
    """A file is not JSON. It is raised and caught within this folder.

    Args:
        what: What is wrong, after the name of the file.
        remedy: What to do, as a sentence.
    """

    def __init__(self, what: str, remedy: str = '') -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def read_text(path: str | Path) -> tuple[str, str | None]:
    """Reads a file of JSON.

    Returns:
        Its text, and the name of its encoding; None for plain UTF-8, the only one that pycocotools reads.

    Raises:
        UnreadableError: If it is not text, or its encoding cannot be known.
    """
    content = Path(path).read_bytes()
    if other := other_bytes(content, path):
        raise UnreadableError(*other)
    encoding = json.detect_encoding(content)  # by a byte order mark, or by zeros between the first characters
    try:
        return content.decode(encoding), None if encoding == 'utf-8' else encoding
    except UnicodeDecodeError as error:
        what = f'is not JSON: byte {error.start} is not {encoding.upper()} text'
        if content.lstrip()[:1] not in (b'{', b'['):
            raise UnreadableError(what) from error
        raise UnreadableError(
            f'{what}, so it is in another encoding, such as GBK or Latin-1',
            'Save it as UTF-8: in an editor "Save as" with the encoding UTF-8, or with the name of its encoding '
            f'iconv -f GBK -t UTF-8 {path} > new.json',
        ) from error


def members(text: str, wanted: frozenset[str]) -> Iterator[tuple[str, int | None, Any]]:
    """Yields the members of a JSON object, and the items of its wanted lists one by one.

    Args:
        text: The text of the whole file.
        wanted: The keys of the lists whose items are yielded.

    Yields:
        For each member its key, None, and its value. The value of a wanted list is empty; the key, index and value of
        each of its items follow.

    Raises:
        UnreadableError: If it is not JSON, or not an object.
    """
    try:
        yield from _members(text, wanted)
    except json.JSONDecodeError as error:
        if error.msg == 'Extra data' and error.colno == 1 and text[error.pos] in '{[':
            what = f'holds several JSON values, the second one from line {error.lineno} on, like JSON Lines'
            raise UnreadableError(what, COCO) from error
        if other := other_text(text):
            raise UnreadableError(*other) from error
        raise UnreadableError(f'is not JSON: {_what_is_wrong(error, text)}') from error
    except ValueError as error:  # a number of thousands of digits
        raise UnreadableError(f'is not COCO: {error}') from error
    except RecursionError as error:
        raise UnreadableError('is not COCO: its lists are nested too deep') from error


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Pauses the collector. It would walk again and again through millions of objects, longer than parsing takes."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _members(text: str, wanted: frozenset[str]) -> Iterator[tuple[str, int | None, Any]]:
    at = _skip(text, 0)
    if text[at : at + 1] != '{':
        value, at = DECODER.raw_decode(text, at)
        _end(text, at)
        if other := other_list(value[0]) if isinstance(value, list) and value else None:
            raise UnreadableError(*other)
        raise UnreadableError(f'holds a JSON {type(value).__name__}; a COCO annotation file is an object')
    at = _skip(text, at + 1)
    if text[at : at + 1] == '}':
        _end(text, at + 1)
        return
    while True:
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError('Expecting property name enclosed in double quotes', text, at)
        key, at = DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ':':
            raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
        at = _skip(text, at + 1)
        if key in wanted and text[at : at + 1] == '[':
            yield key, None, []
            at = yield from _items(text, at, key)
        else:
            value, at = DECODER.raw_decode(text, at)
            yield key, None, value
        at = _skip(text, at)
        if text[at : at + 1] == '}':
            _end(text, at + 1)
            return
        if text[at : at + 1] != ',':
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at = _skip(text, at + 1)


def _items(text: str, at: int, key: str) -> Generator[tuple[str, int | None, Any], None, int]:
    """Yields the items of the list that starts here; returns where it ends."""
    scan, skip = DECODER.raw_decode, WHITESPACE.match
    at = _skip(text, at + 1)
    if text[at : at + 1] == ']':
        return at + 1
    index = 0
    while True:
        value, at = scan(text, at)
        yield key, index, value
        index += 1
        at = skip(text, at).end()  # type: ignore[union-attr]  # it always matches, if only an empty text
        after = text[at : at + 1]
        if after == ']':
            return at + 1
        if after != ',':
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at = skip(text, at + 1).end()  # type: ignore[union-attr]  # as above


def _skip(text: str, at: int) -> int:
    return WHITESPACE.match(text, at).end()  # type: ignore[union-attr]  # it always matches, if only an empty text


def _end(text: str, at: int) -> None:
    at = _skip(text, at)
    if at != len(text):
        raise json.JSONDecodeError('Extra data', text, at)


def _what_is_wrong(error: json.JSONDecodeError, text: str) -> str:
    end = len(text.rstrip())
    if end == 0:
        return 'the file is empty'
    # The parser points to the start of an unfinished string, word or escape, else to the end
    if error.msg.startswith('Unterminated') or error.pos >= end - 5:
        tail = text[max(end - 40, 0) : end]
        return f'it ends in the middle, after {tail!r}. It was not copied or downloaded completely; get it again'
    around = text[max(error.pos - 20, 0) : error.pos + 20]
    return f'{error.msg} at line {error.lineno}, column {error.colno}, in {around!r}'
