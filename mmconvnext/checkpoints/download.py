"""Fetches checkpoints once, into torch.hub's cache, and goes on where an earlier try broke off."""

import hashlib
import os
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock
from tqdm import tqdm

from mmconvnext.checkpoints.cache import cache_folder
from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.checkpoints.manifest import MANIFEST
from mmconvnext.checkpoints.read import HASH_IN_NAME, check_file, check_hash, check_legacy_file
from mmconvnext.checkpoints.shards import INDEX_SUFFIX, is_index, shard_names

TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 20  # bytes

# Names of the file with the weights on the Hugging Face hub, in the order in which they are looked for
HUB_FILES = (
    *('model.safetensors', f'model.safetensors{INDEX_SUFFIX}', 'open_clip_model.safetensors'),
    *('pytorch_model.bin', f'pytorch_model.bin{INDEX_SUFFIX}', 'open_clip_pytorch_model.bin'),
)


def download(url: str) -> Path:
    """Path of ``url`` in the cache. A file that is there already needs no network.

    A published file and one whose name ends in a hash keep their names there; any other gets a hash of its address into
    it, for many a model.safetensors is another file. Of several processes on a machine one downloads, and the others
    wait for it. What a try that broke off has left is kept under another name, and the next try goes on from there if
    the server says that the file is still the same.

    Raises:
        CheckpointError: If it cannot be downloaded, or what comes is no checkpoint.
    """
    path = cache_folder() / _cached_name(url)
    part = path.with_name(f'{path.name}.part')
    state = path.with_name(f'.{path.name}.state')
    try:
        if path.is_file():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f'.{path.name}.lock')):
            if path.is_file():  # another process has just finished it
                return path
            _fetch(url, part, state)
            try:
                check_file(part)
                check_hash(part, path.name)
                check_legacy_file(part)
            except CheckpointError as error:
                _discard(part, state)
                reason = error.facts.get('reason') or str(error).removeprefix(f'{part} ')
                raise CheckpointError(
                    f'{url}: what came is no checkpoint that can be used, and was not kept ({reason.rstrip(".")}).',
                    **error.facts,
                ) from error
            os.replace(part, path)
            state.unlink(missing_ok=True)
    except (OSError, HTTPException) as error:
        kept = f' Another try goes on after {_size(part) / 1e6:.1f} MB.' if _size(part) and _size(state) else ''
        raise CheckpointError(f'could not download {url} ({error}).{kept}') from error
    return path


def download_from_hub(name: str) -> Path:
    """Path of the weights of ``org/name`` or ``org/name@revision`` in the cache of the Hugging Face hub.

    Raises:
        CheckpointError: If there are none, or they are gated, or huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )
    except ImportError as error:
        raise CheckpointError(
            f"hf-hub:{name} needs the package huggingface_hub: pip install 'mmconvnext[hub]'."
        ) from error
    repository, _, revision = name.partition('@')
    missing: list[EntryNotFoundError] = []
    for file in HUB_FILES:
        try:
            path = Path(hf_hub_download(repository, file, revision=revision or None))
            for shard in shard_names(path) if is_index(path) else ():
                hf_hub_download(repository, shard, revision=revision or None)
            return path
        except EntryNotFoundError as error:
            missing.append(error)
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            raise CheckpointError(f'could not get hf-hub:{name} ({str(error).splitlines()[0]}).') from error
    reason = str(missing[-1]).splitlines()[0].rstrip('.')
    if any(isinstance(error, LocalEntryNotFoundError) for error in missing):
        raise CheckpointError(f'hf-hub:{name} is not in the cache, and the hub cannot be reached ({reason}).')
    raise CheckpointError(f'hf-hub:{name} has none of {", ".join(HUB_FILES)} ({reason}).')


def _cached_name(url: str) -> str:
    """What a download is called in the cache: never more than a file's name, and another one for another file."""
    try:
        name = unquote(urlsplit(url).path).rpartition('/')[2]
        digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    except ValueError as error:
        raise CheckpointError(f'{url!r} is no address ({error}).') from error
    if name in ('', '.', '..') or {'\\', '\0'} & set(name):
        raise CheckpointError(f'{url} names no file.')
    if HASH_IN_NAME.search(name) or any(weights.url == url for weights in MANIFEST.values()):
        return name
    stem, dot, suffix = name.rpartition('.')
    return f'{stem}.{digest}.{suffix}' if dot else f'{name}.{digest}'


def _fetch(url: str, part: Path, state: Path) -> None:
    """Downloads ``url`` to ``part``; from where it ends if ``state`` says which state of the server's file it is of."""
    validator = state.read_text() if state.exists() else ''
    have = _size(part) if validator else 0
    headers = {'User-Agent': 'mmconvnext'}
    if have:
        headers |= {'Range': f'bytes={have}-', 'If-Range': validator}
    address = quote(url, safe="%/:=&?~#+!$,;'@()*[]")  # of letters that no address may have
    try:
        response: HTTPResponse = urlopen(Request(address, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if not have or error.code != 416:
            raise
        # Range not satisfiable: nothing is left to fetch, or the file is another one now
        if error.headers.get('Content-Range') == f'bytes */{have}':
            return
        _discard(part, state)
        return _fetch(url, part, state)
    with response:
        now = _validator(response.headers)
        if response.status != 206:  # the whole file, from its beginning
            have = 0
            part.unlink(missing_ok=True)  # before it is said to be of another state
            state.write_text(now)
        elif not response.headers.get('Content-Range', '').startswith(f'bytes {have}-') or now not in ('', validator):
            _discard(part, state)
            return _fetch(url, part, state)
        length = response.headers.get('Content-Length')
        total = have + int(length) if length and length.isdecimal() else None
        with (
            part.open('ab' if have else 'wb') as file,
            # disable=None: no bar where the output is not a terminal
            tqdm(desc=part.stem, initial=have, total=total, unit='B', unit_scale=True, disable=None) as bar,
        ):
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and _size(part) != total:
        raise OSError(f'the connection broke off at {_size(part)} of {total} bytes')


def _validator(headers: HTTPMessage) -> str:
    """What tells this state of a file from another one in ``If-Range``; empty if nothing does (RFC 9110, 13.1.5)."""
    etag = headers.get('ETag') or ''
    return etag if etag.startswith('"') else headers.get('Last-Modified') or ''


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # not there, or not a name that a file can have
        return 0


def _discard(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
