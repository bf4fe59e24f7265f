"""Downloads checkpoints into torch.hub's cache, and continues downloads that were interrupted.

Continuing is safe only with ``If-Range`` (RFC 9110, section 13.1.5). Without it the rest of a new file could follow the
beginning of an old one. torch.hub, pooch and fsspec start over; huggingface_hub and pypdl do not send it.
"""

import hashlib
import os
import re
import shutil
from contextlib import suppress
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request, urlopen

import torch
from filelock import FileLock
from tqdm import tqdm

from mmconvnext.checkpoints.check_file import check_file
from mmconvnext.checkpoints.errors import CheckpointError, UnsafeFileError
from mmconvnext.checkpoints.manifest import MANIFEST
from mmconvnext.checkpoints.read_file import read_file

TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 20  # bytes

# torch.hub's convention: a name ends in the beginning of the file's SHA-256. Eight digits of a date, as in
# run-20240131.pth, are not a hash
HASH_IN_NAME = re.compile(r'-(?!(?:19|20)\d{6}\.)([0-9a-f]{8,64})\.(?:pth|pt|bin|safetensors)$')


def cache_folder() -> Path:
    """The folder of downloads, which is torch.hub's."""
    return Path(torch.hub.get_dir()) / 'checkpoints'


def download(url: str) -> Path:
    """Downloads a file into the cache, unless it is there already.

    One process downloads, and others that want the same file wait for it. The file gets its final name after it was
    checked. An interrupted download is kept under another name, and the next call continues it.

    Published files and files whose name ends in a hash keep their name. Others get a hash of the URL into their name,
    since many URLs end in model.safetensors.

    Returns:
        The file's path.

    Raises:
        CheckpointError: If the download fails, or what arrives is not an intact checkpoint.
    """
    path = cache_folder() / _cached_name(url)
    part = path.with_name(f'{path.name}.part')
    version = path.with_name(f'.{path.name}.version')  # of the server's file that ``part`` is the beginning of
    try:
        if path.is_file():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f'.{path.name}.lock')):
            if not path.is_file():  # another process may just have finished
                _fetch(url, part, version)
                _check(part, path.name, url)
                os.replace(part, path)
                version.unlink(missing_ok=True)
    except (OSError, HTTPException) as error:
        kept = _size(part) if _size(version) else 0
        hint = f' The first {kept / 1e6:.1f} MB are kept, and the next try continues from there.' if kept else ''
        raise CheckpointError(f'could not download {url} ({error}).{hint}', url=url, kept=kept) from error
    return path


def _cached_name(url: str) -> str:
    """Returns a name without folders, which is different for different files."""
    try:
        name = unquote(urlsplit(url).path).rpartition('/')[2]
        digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    except ValueError as error:
        raise CheckpointError(f'{url!r} is not a valid URL ({error}).', url=url) from error
    if name in ('', '.', '..') or {'\\', '\0'} & set(name):
        raise CheckpointError(f'{url} does not end in the name of a file.', url=url)
    if HASH_IN_NAME.search(name) or any(weights.url == url for weights in MANIFEST.values()):
        return name
    stem, dot, suffix = name.rpartition('.')
    return f'{stem}.{digest}.{suffix}' if dot else f'{name}.{digest}'


def _fetch(url: str, part: Path, version: Path) -> None:
    """Downloads ``url`` to ``part``, from the end of ``part`` if the server's file is unchanged."""
    expected = version.read_text() if version.exists() else ''
    response, start = _open(url, _size(part) if expected else 0, expected)
    with response:
        if not start:
            part.unlink(missing_ok=True)  # first, so that ``version`` never describes another file's beginning
            version.write_text(_version(response.headers))
        length = response.headers.get('Content-Length') or ''
        total = start + int(length) if length.isdecimal() else None
        bar = dict(desc=part.stem, initial=start, total=total, disable=None)  # None: no bar outside of terminals
        with part.open('ab') as file, tqdm.wrapattr(file, 'write', **bar) as file_with_bar:
            shutil.copyfileobj(response, file_with_bar, CHUNK)
    if total is not None and _size(part) != total:
        raise OSError(f'the connection broke off at {_size(part)} of {total} bytes')


def _open(url: str, start: int, version: str) -> tuple[HTTPResponse, int]:
    """Returns the server's response, and the byte at which it begins.

    That is ``start`` if the server's file is still of this ``version``, and else 0.
    """
    request = Request(quote(url, safe="%/:=&?~#+!$,;'@()*[]"), headers={'User-Agent': 'mmconvnext'})
    if start:
        request.add_header('Range', f'bytes={start}-')
        request.add_header('If-Range', version)
    try:
        response: HTTPResponse = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        if start and error.code == 416:  # range not satisfiable: the server's file ends there or before
            return _open(url, 0, '')
        raise
    if not start or response.status != 206:  # the whole file
        return response, 0
    begins = (response.headers.get('Content-Range') or '').startswith(f'bytes {start}-')
    if begins and _version(response.headers) in ('', version):  # some servers ignore If-Range
        return response, start
    response.close()
    return _open(url, 0, '')


def _version(headers: Message) -> str:
    """What tells a server's file from a later one of the same URL: a strong ETag, or else the date of modification."""
    etag = headers.get('ETag') or ''
    return etag if etag.startswith('"') else headers.get('Last-Modified') or ''


def _check(part: Path, name: str, url: str) -> None:
    """Checks that a download is an intact checkpoint and has the hash in its name, and removes it otherwise."""
    try:
        if check_file(part, on_every_rank=True) == 'legacy':  # any process may have got the lock
            with suppress(UnsafeFileError):  # the user decides about that at loading
                read_file(part)
        if (hashed := HASH_IN_NAME.search(name)) and not (digest := _sha256(part)).startswith(hashed[1]):
            message = f'its SHA-256 begins with {digest[:8]}, and by its name with {hashed[1]}.'
            raise CheckpointError(message, expected=hashed[1], digest=digest)
    except CheckpointError as error:
        part.unlink()
        reason = error.facts.get('reason') or str(error).replace(str(part), 'it').rstrip('.')
        message = f'{url}: what arrived cannot be used and was not kept ({reason}).'
        raise CheckpointError(message, **error.facts, url=url) from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it does not exist, or its name is too long to exist
        return 0
