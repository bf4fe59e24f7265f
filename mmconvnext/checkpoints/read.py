"""From a file to tensors, safely, or to a sentence that says what the file is instead."""

import argparse
import hashlib
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from mmconvnext.checkpoints.errors import CheckpointError, UnsafeFileError

# Where training programs keep the weights, in the order in which they count if a file has several
WRAPPERS = (
    'state_dict',
    'model',
    'model_state_dict',
    'module',
    'model_ema',
    'state_dict_ema',
    'ema_state_dict',
)

# torch.hub's convention. Eight digits that are a date, as in run-20240131.pth, are none
HASH_IN_NAME = re.compile(r'-(?!(?:19|20)\d{6}\.)([0-9a-f]{8,64})\.(?:pth|pt|bin|safetensors)$')

AGAIN = 'Delete it, then download it again.'  # what lies in the cache is not downloaded

ZIP, PICKLE = b'PK\x03\x04', b'\x80'
TORCH_PICKLE = bytes.fromhex('6cfc9c46f9206aa85019')  # in the first pickle of each file of PyTorch before 1.6

# What reading a damaged pickle may raise
UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
)


def check_file(path: Path, name: str | None = None) -> None:
    """Checks that a file can be a checkpoint, byte by byte but without reading its tensors.

    Args:
        path: The file.
        name: What it is called, if it has not got its name yet.

    Raises:
        CheckpointError: If it is empty, a page of HTML, a pointer of Git LFS, damaged, or not of the hash that its name
            promises.
    """
    name = name or path.name
    try:
        with path.open('rb') as file:
            head = file.read(512)
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read ({error.strerror}).') from error
    if not head:
        raise CheckpointError(f'{path} is empty. {AGAIN}')
    if head.lstrip().startswith(b'<'):
        raise CheckpointError(
            f'{path} is a web page, not a checkpoint: a server sent an error or a login page in its place, or this '
            f'is not the address of the file itself. {AGAIN}'
        )
    if head.startswith(b'version https://git-lfs'):
        raise CheckpointError(
            f'{path} is a pointer of Git LFS, not the checkpoint itself; "git lfs pull" in its repository fetches it.'
        )
    if not (head.startswith((ZIP, PICKLE)) or is_safetensors(head)):
        raise CheckpointError(f'{path} is neither a .pth nor a .safetensors file: it starts with {head[:16]!r}.')
    if head.startswith(PICKLE) and len(head) > 32 and TORCH_PICKLE not in head[:32]:
        raise CheckpointError(
            f'{path} is a plain pickle, such as those of Detectron2, and not a checkpoint of PyTorch. Write its arrays '
            'with torch.save, as tensors by name.'
        )
    promised = HASH_IN_NAME.search(name)
    if promised and not (digest := _sha256(path)).startswith(promised[1]):
        raise CheckpointError(
            f'{path} is not the file that its name promises: its SHA-256 is {digest[:8]}..., not {promised[1]}. It is '
            f'damaged or another one. {AGAIN}'
        )
    if head.startswith(ZIP):
        _check_zip(path)
    elif is_safetensors(head):
        _check_length(path)


def check_legacy_file(path: Path) -> None:
    """Checks a file of PyTorch before 1.6, which has neither checksums nor its length, by reading it; no other.

    Raises:
        CheckpointError: If it is damaged. One that holds Python objects cannot be checked.
    """
    with path.open('rb') as file:
        legacy = file.read(1) == PICKLE
    if legacy:
        with suppress(UnsafeFileError):  # left to the loading, where the user can allow it
            read_file(path)


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is of the safetensors format: a length, and a header of JSON."""
    return head[8:9] == b'{' and head[4:8] == bytes(4)


def read_file(path: Path, allow_pickle: bool = False) -> Any:
    """Content of a checkpoint file, on the CPU.

    Args:
        path: A .pth, .pt, .bin or .safetensors file; its content counts, not its suffix.
        allow_pickle: Whether to read a file that holds more than tensors and plain values. Such a file can run any code
            as it is read, so it has to come from someone you trust.

    Raises:
        CheckpointError: If it cannot be read, or not safely.
    """
    check_file(path)
    with path.open('rb') as file:
        safetensors = is_safetensors(file.read(9))
    if safetensors:
        return _read_safetensors(path)
    try:
        # Training programs keep their command line beside the weights
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location='cpu', weights_only=not allow_pickle)
    except UNREADABLE as error:
        message = str(error) or type(error).__name__
        unsafe = re.search(r'Unsupported global: GLOBAL (\S+)', message)
        if unsafe:
            raise UnsafeFileError(
                f'{path} holds a Python object, {unsafe[1]}. Such a file can run any code as it is read, so it was not '
                'read. If you trust whoever made it, use allow_pickle=True in the init_cfg, or --allow-pickle of '
                'tools/convert_checkpoint.py, which writes a file of tensors only.'
            ) from error
        if 'TorchScript' in message:
            raise CheckpointError(
                f'{path} is a TorchScript program, not a checkpoint. Save the state_dict() of what torch.jit.load '
                'returns.'
            ) from error
        reason = message.partition('WeightsUnpickler error:')[2].strip() or message
        raise CheckpointError(
            f'{path} is damaged or cut off, or not a checkpoint of PyTorch ({reason.splitlines()[0][:120]}). {AGAIN}'
        ) from error


def tensors_in(content: Any, source: str, key: str | None = None) -> dict[str, Tensor]:
    """The tensors in a file's content, by name.

    Args:
        content: From :func:`read_file`.
        source: What messages call the file.
        key: Where in the content they are, such as ``model_ema`` or ``teacher.backbone``; None finds them.

    Raises:
        CheckpointError: If there are none, or something else is among them.
    """
    for part in key.split('.') if key else ():
        if not isinstance(content, Mapping) or part not in content:
            raise CheckpointError(f'{source} has no key={key!r}; {_entries(content)}.')
        content = content[part]
    while True:
        if isinstance(content, nn.Module):  # a pickled model
            content = content.state_dict()
        if not isinstance(content, Mapping):
            raise CheckpointError(f'{source} holds a {type(content).__name__}, not tensors by name.')
        inner = next((content[w] for w in WRAPPERS if isinstance(content.get(w), Mapping | nn.Module)), None)
        if inner is None:
            break
        content = inner
    if {'param_groups', 'optimizer'} & content.keys():
        raise CheckpointError(f'{source} holds the state of an optimizer and no weights; {_entries(content)}.')
    others = [name for name, value in content.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others or not content:
        raise CheckpointError(
            f'{source} holds no dictionary of tensors by name, at its top or under one of {", ".join(WRAPPERS)}; '
            f'{_entries(content)}. If the weights are elsewhere, say where with key=....'
        )
    unusual = [name for name, value in content.items() if value.layout != torch.strided or value.is_meta]
    if unusual:
        raise CheckpointError(
            f'{source} holds {unusual[0]} without its values, or as a sparse tensor. Save dense tensors on the CPU.'
        )
    return dict(content)


def _entries(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f'it holds a {type(content).__name__}'
    kinds = [f'{name} ({type(value).__name__})' for name, value in list(content.items())[:6]]
    return f'it holds {", ".join(kinds) or "nothing"}{", ..." if len(content) > 6 else ""}'


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _check_zip(path: Path) -> None:
    """Compares the checksums of a zip file, which PyTorch writes but does not read."""
    try:
        with zipfile.ZipFile(path) as archive:
            for record in archive.infolist():
                if record.CRC:  # 0 if whoever wrote the file had turned them off
                    with archive.open(record) as file:
                        while file.read(1 << 20):
                            pass
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f'{path} is damaged or cut off ({error}). {AGAIN}') from error


def _check_length(path: Path) -> None:
    """Compares the length of a safetensors file with what its header says."""
    try:
        with safe_open(path, 'pt'):
            pass
    except SafetensorError as error:
        raise CheckpointError(f'{path} is damaged or cut off ({error}). {AGAIN}') from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f'{path} is damaged or cut off ({error}). {AGAIN}') from error
