"""Fetches checkpoints once, into torch.hub's cache, and goes on where an earlier try broke off."""

import os
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import torch
from filelock import FileLock
from tqdm import tqdm

from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.checkpoints.read import check_file

TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 20  # bytes

# Names of the file with the weights on the Hugging Face hub, in the order in which they are looked for
HUB_FILES = ('model.safetensors', 'open_clip_model.safetensors', 'pytorch_model.bin', 'open_clip_pytorch_model.bin')


def cache_folder() -> Path:
    """Where downloads are kept."""
    return Path(torch.hub.get_dir()) / 'checkpoints'


def download(url: str) -> Path:
    """Path of ``url`` in the cache. A file that is there already needs no network.

    Of several processes on a machine one downloads, and the others wait for it. What a try that broke off has left is
    kept under another name, and the next try goes on from there.

    Raises:
        CheckpointError: If it cannot be downloaded, or what comes is no checkpoint.
    """
    try:
        path = cache_folder() / unquote(urlsplit(url).path.rsplit('/', 1)[-1])
    except ValueError as error:
        raise CheckpointError(f'{url} is no address ({error}).') from error
    if path.is_file():
        return path
    if path == cache_folder():
        raise CheckpointError(f'{url} names no file.')
    part = path.with_name(f'{path.name}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f'.{path.name}.lock')):
            if path.is_file():  # another process has just finished it
                return path
            _fetch(url, part)
            try:
                check_file(part, path.name)
            except CheckpointError as error:
                part.unlink()
                raise CheckpointError(f'{url}: {error}') from error
            os.replace(part, path)
    except (OSError, HTTPException) as error:
        kept = f' Another try goes on after {part.stat().st_size / 1e6:.1f} MB.' if part.exists() else ''
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
            return Path(hf_hub_download(repository, file, revision=revision or None))
        except EntryNotFoundError as error:
            missing.append(error)
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            raise CheckpointError(f'could not get hf-hub:{name} ({str(error).splitlines()[0]}).') from error
    reason = str(missing[-1]).splitlines()[0].rstrip('.')
    if any(isinstance(error, LocalEntryNotFoundError) for error in missing):
        raise CheckpointError(f'hf-hub:{name} is not in the cache, and the hub cannot be reached ({reason}).')
    raise CheckpointError(f'hf-hub:{name} has none of {", ".join(HUB_FILES)} ({reason}).')


def _fetch(url: str, part: Path) -> None:
    """Downloads ``url`` to ``part``, from where it ends if the server can."""
    have = part.stat().st_size if part.exists() else 0
    headers = {'User-Agent': 'mmconvnext'}
    if have:
        headers['Range'] = f'bytes={have}-'
    try:
        response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if not have or error.code != 416:
            raise
        # Range not satisfiable: nothing is left to fetch, or the file is another one now
        if error.headers.get('Content-Range') == f'bytes */{have}':
            return
        part.unlink()
        return _fetch(url, part)
    with response:
        if response.status != 206:  # the whole file, from its beginning
            have = 0
        length = response.headers.get('Content-Length')
        total = have + int(length) if length else None
        with (
            part.open('ab' if have else 'wb') as file,
            # disable=None: no bar where the output is not a terminal
            tqdm(desc=part.stem, initial=have, total=total, unit='B', unit_scale=True, disable=None) as bar,
        ):
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.stat().st_size != total:
        raise OSError(f'the connection broke off at {part.stat().st_size} of {total} bytes')
