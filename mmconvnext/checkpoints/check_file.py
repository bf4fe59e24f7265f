"""Checks that a file is a checkpoint and is intact, without reading its tensors."""

import os
import zipfile
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open

from mmconvnext.checkpoints.errors import CheckpointError

# ``zip`` is what torch.save writes since PyTorch 1.6, ``legacy`` what it wrote before
Format = Literal['safetensors', 'zip', 'legacy']

ZIP_MAGIC = b'PK\x03\x04'
PICKLE_MAGIC = b'\x80'
LEGACY_MAGIC = bytes.fromhex('6cfc9c46f9206aa85019')  # within the first pickle of a legacy file

ARCHIVES = {b'\x1f\x8b': 'a gzip archive', b'7z\xbc\xaf': 'a 7z archive', b'Rar!': 'a RAR archive'}  # by first bytes

LOCAL_RANKS = ('LOCAL_RANK', 'SLURM_LOCALID')  # environment variables that number a launcher's processes on a machine

# Files whose checksums this process has compared, by path, inode, size and time. Comparing reads the whole file
_INTACT: set[tuple[str, int, int, int]] = set()


def check_file(path: Path, *, on_every_rank: bool = False) -> Format:
    """Returns the format of a checkpoint file, judged by its content, and checks the length or checksums it records.

    A legacy file records neither, so only reading it shows whether it is intact. Checksums are compared once for an
    unchanged file, and of several processes on a machine only by the first.

    Args:
        path: The file.
        on_every_rank: Compare checksums in every process, because each decides by the result.

    Raises:
        CheckpointError: If the file cannot be read, is of no such format, or is damaged. ``facts['damaged']`` is True
            if bytes of a checkpoint are missing or wrong.
    """
    try:
        with path.open('rb') as file:
            head = file.read(512)
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read ({error.strerror}).', file=path) from error
    if not head:
        raise damage(path, 'it is empty')
    # The length of a header of JSON, and the header. This comes first: the length's bytes can look like another format
    if head[8:9] == b'{' and head[4:8] == bytes(4):
        _check_safetensors(path)
        return 'safetensors'
    if head.startswith(ZIP_MAGIC):
        state = path.stat()
        version = (str(path), state.st_ino, state.st_size, state.st_mtime_ns)
        first_on_this_machine = all(os.environ.get(name, '0') == '0' for name in LOCAL_RANKS)
        if version not in _INTACT and (on_every_rank or first_on_this_machine):
            _check_zip(path)
            _INTACT.add(version)
        return 'zip'
    if head.startswith(PICKLE_MAGIC) and (len(head) <= 32 or LEGACY_MAGIC in head[:32]):
        return 'legacy'
    raise _other_format(path, head)


def damage(path: Path, reason: str) -> CheckpointError:
    """The error for a file whose bytes are missing or wrong."""
    if Path(torch.hub.get_dir()) in path.parents:
        remedy = 'It is a download: move it out of its folder, and the next use downloads it again.'
    else:
        remedy = 'Copy it again from its source, or use another checkpoint.'
    message = f'{path} is damaged or incomplete ({reason}). {remedy}'
    return CheckpointError(message, file=path, damaged=True, reason=reason)


def _archive(path: Path, found: str) -> CheckpointError:
    message = f'{path} is {found}, not a checkpoint. Unpack it, and give the checkpoint that is in it.'
    return CheckpointError(message, file=path, found=found)


def _other_format(path: Path, head: bytes) -> CheckpointError:
    if head[257:262] == b'ustar':
        return _archive(path, 'a tar archive')
    for magic, found in ARCHIVES.items():
        if head.startswith(magic):
            return _archive(path, found)
    if head.lstrip().startswith(b'<'):
        found = 'a web page'
        hint = 'The server sent an error or a login page, or the address is that of a page and not of the file.'
    elif head.startswith(b'version https://git-lfs'):
        found, hint = 'a Git LFS pointer', '"git lfs pull" in its repository fetches the checkpoint.'
    elif head.startswith(PICKLE_MAGIC):
        found, hint = 'a plain pickle', 'Detectron2 writes such files. Save its arrays as tensors with torch.save.'
    elif path.suffix == '.py':
        found, hint = 'a Python file', 'The config is given first, and then the checkpoint.'
    else:
        found, hint = 'of an unknown format', f'It starts with {head[:16]!r}.'
    message = f'{path} is not a .pth or .safetensors checkpoint but {found}. {hint}'
    return CheckpointError(message, file=path, found=found)


def _check_zip(path: Path) -> None:
    """Compares the checksums, which torch.save writes and torch.load ignores."""
    try:
        with zipfile.ZipFile(path) as archive:
            of_torch = any(name.rpartition('/')[2] == 'data.pkl' for name in archive.namelist())  # the tensors' names
            for record in archive.infolist():
                if record.CRC:  # 0 if the writer had turned checksums off
                    with archive.open(record) as file:
                        while file.read(1 << 20):
                            pass
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise damage(path, str(error)) from error
    if not of_torch:
        raise _archive(path, 'a zip archive')


def _check_safetensors(path: Path) -> None:
    """Compares the length of the file with its header."""
    try:
        with safe_open(path, 'pt'):
            pass
    except SafetensorError as error:
        raise damage(path, str(error)) from error
