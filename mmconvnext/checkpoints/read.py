"""From a file to tensors, safely, or to a sentence that says what the file is instead."""

import argparse
import hashlib
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from mmconvnext.checkpoints import shards
from mmconvnext.checkpoints.cache import cache_folder
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

# What wrappers of modules leave in the middle of names: torch.compile, activation checkpointing, FSDP
WRAPPED = re.compile(r'(?:^|(?<=\.))(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.')

# What thop's counters leave beside the weights of every module
COUNTERS = ('total_ops', 'total_params')

LOCAL_RANKS = ('LOCAL_RANK', 'SLURM_LOCALID')  # environment variables of a launcher's processes on one machine

ZIP, PICKLE = b'PK\x03\x04', b'\x80'
TORCH_PICKLE = bytes.fromhex('6cfc9c46f9206aa85019')  # in the first pickle of each file of PyTorch before 1.6

# How PyTorch says so in a RuntimeError
OUT_OF_MEMORY = re.compile(r"not enough memory|can't allocate memory|out of memory|Cannot allocate memory")

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


# Files that this process has found whole: path, inode, size and time
_CHECKED: set[tuple[str, int, int, int]] = set()


def check_file(path: Path, *, on_every_rank: bool = False) -> None:
    """Checks that a file can be a checkpoint, byte by byte but without reading its tensors.

    A file that this process has checked before is not read again while its size and time stay the same.

    Args:
        path: The file.
        on_every_rank: Whether each process of a machine compares the checksums, since it decides by the outcome;
            otherwise only the first does.

    Raises:
        CheckpointError: If it is empty, a page of HTML, a pointer of Git LFS, or damaged. ``facts['damaged']`` says
            whether bytes of it are missing or wrong.
    """
    try:
        state = path.stat()
        with path.open('rb') as file:
            head = file.read(512)
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read ({error.strerror}).') from error
    if not head:
        raise _damaged(path, 'it is empty')
    # First, since the length with which such a file begins can look like anything
    if not is_safetensors(head):
        _check_head(path, head)
    version = (str(path), state.st_ino, state.st_size, state.st_mtime_ns)
    if version in _CHECKED:
        return
    if is_safetensors(head):
        _check_length(path)
    elif head.startswith(ZIP):
        if not (on_every_rank or _is_first_on_this_machine()):
            return
        _check_zip(path)
    _CHECKED.add(version)


def _check_head(path: Path, head: bytes) -> None:
    """Checks the first bytes of a file that is not of the safetensors format."""
    if head.lstrip().startswith(b'<'):
        raise CheckpointError(
            f'{path} is a web page, not a checkpoint: a server sent an error or a login page in its place, or this '
            'is not the address of the file itself.'
        )
    if head.startswith(b'version https://git-lfs'):
        raise CheckpointError(
            f'{path} is a pointer of Git LFS, not the checkpoint itself; "git lfs pull" in its repository fetches it.'
        )
    if not head.startswith((ZIP, PICKLE)):
        raise CheckpointError(f'{path} is neither a .pth nor a .safetensors file: it starts with {head[:16]!r}.')
    if head.startswith(PICKLE) and len(head) > 32 and TORCH_PICKLE not in head[:32]:
        raise CheckpointError(
            f'{path} is a plain pickle, such as those of Detectron2, and not a checkpoint of PyTorch. Write its arrays '
            'with torch.save, as tensors by name.'
        )


def check_hash(path: Path, name: str) -> None:
    """Checks a file that was downloaded against the hash in its name, if it has one, as torch.hub does.

    Args:
        path: The file.
        name: What it will be called.

    Raises:
        CheckpointError: If it has another hash.
    """
    promised = HASH_IN_NAME.search(name)
    if promised and not (digest := _sha256(path)).startswith(promised[1]):
        raise CheckpointError(
            f'{name} is not the file that its name promises: its SHA-256 is {digest[:8]}..., not {promised[1]}.',
            promised=promised[1],
            digest=digest,
        )


def check_legacy_file(path: Path) -> None:
    """Checks a file of PyTorch before 1.6, which has neither checksums nor its length, by reading it; no other.

    Raises:
        CheckpointError: If it is damaged. One that holds Python objects cannot be checked.
    """
    with path.open('rb') as file:
        head = file.read(9)
    if head.startswith(PICKLE) and not is_safetensors(head):
        with suppress(UnsafeFileError):  # left to the loading, where the user can allow it
            read_file(path)


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is of the safetensors format: a length, and a header of JSON."""
    return head[8:9] == b'{' and head[4:8] == bytes(4)


def read_file(path: Path, allow_pickle: bool = False) -> Any:
    """Content of a checkpoint file, on the CPU.

    Args:
        path: A .pth, .pt, .bin or .safetensors file, whose content counts, not its suffix; or the .index.json of a
            model in several files.
        allow_pickle: Whether to read a file that holds more than tensors and plain values. Such a file can run any code
            as it is read, so it has to come from someone you trust.

    Raises:
        CheckpointError: If it cannot be read, or not safely, or is one of several files of a model.
    """
    if shards.is_index(path):
        whole: dict[str, Any] = {}
        for part in shards.read_index(path):
            whole |= _read_one(part, allow_pickle)
        return whole
    shards.refuse_single_shard(path)
    return _read_one(path, allow_pickle)


def _read_one(path: Path, allow_pickle: bool) -> Any:
    check_file(path)
    with path.open('rb') as file:
        safetensors = is_safetensors(file.read(9))
    try:
        if safetensors:
            return load_file(path)
        # Training programs keep their command line beside the weights
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location='cpu', weights_only=not allow_pickle)
    except SafetensorError as error:
        raise _damaged(path, str(error)) from error
    except MemoryError as error:
        raise _too_large(path) from error
    except UNREADABLE as error:
        message = str(error) or type(error).__name__
        if OUT_OF_MEMORY.search(message):
            raise _too_large(path) from error
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
        raise _damaged(path, reason.splitlines()[0][:120], or_else=', or not a checkpoint of PyTorch') from error


class Taken(NamedTuple):
    """The tensors that were taken from a file.

    Args:
        tensors: By name.
        notes: What a reader of the log should know: which of several sets of weights these are, what was left out.
    """

    tensors: dict[str, Tensor]
    notes: list[str]


def tensors_in(content: Any, source: str, key: str | None = None) -> Taken:
    """The tensors in a file's content, by name.

    What ``torch.compile``, activation checkpointing and FSDP put into the middle of names is taken off.

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
    notes: list[str] = []
    while True:
        if isinstance(content, nn.Module):  # a pickled model
            content = content.state_dict()
        if not isinstance(content, Mapping):
            raise CheckpointError(f'{source} holds a {type(content).__name__}, not tensors by name.')
        there = [w for w in WRAPPERS if isinstance(content.get(w), Mapping | nn.Module)]
        if not there:
            break
        if len(there) > 1:
            notes.append(_which_of_several(content, there))
        content = content[there[0]]
    if {'param_groups', 'optimizer'} & content.keys():
        raise CheckpointError(f'{source} holds the state of an optimizer and no weights; {_entries(content)}.')
    others = [
        name
        for name, value in content.items()
        if not (isinstance(name, str) and (isinstance(value, Tensor) or _is_numeric_array(value)))
    ]
    if others or not content:
        raise CheckpointError(
            f'{source} holds no dictionary of tensors by name, at its top or under one of {", ".join(WRAPPERS)}; '
            f'{_entries(content)}. If the weights are elsewhere, say where with key=....'
        )
    arrays = [name for name, value in content.items() if isinstance(value, np.ndarray)]
    if arrays:
        notes.append(f'{len(arrays)} NumPy arrays read as tensors')
        content = {n: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for n, v in content.items()}
    unusual = [name for name, value in content.items() if value.layout != torch.strided or value.is_meta]
    if unusual:
        raise CheckpointError(
            f'{source} holds {unusual[0]} without its values, or as a sparse tensor. Save dense tensors on the CPU.'
        )
    counters = [name for name in content if name.rpartition('.')[2] in COUNTERS]
    if counters:
        notes.append(f'{len(counters)} counters of thop left out')
    tensors = {WRAPPED.sub('', name): value for name, value in content.items() if name not in counters}
    if len(tensors) + len(counters) != len(content):
        raise CheckpointError(f'{source} holds tensors twice, once under the name of a wrapper such as _orig_mod.')
    return Taken(tensors, notes)


def _which_of_several(content: Mapping[str, Any], there: list[str]) -> str:
    taken, *rest = there
    if taken == 'state_dict' and 'ema_state_dict' in rest and 'message_hub' in content:
        return "averaged weights, which MMEngine's EMAHook saves as state_dict (the raw ones: ema_state_dict)"
    return f'{taken} taken, {", ".join(rest)} beside it not'


def _is_numeric_array(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in 'fiub'


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
        raise _damaged(path, str(error)) from error


def _check_length(path: Path) -> None:
    """Compares the length of a safetensors file with what its header says."""
    try:
        with safe_open(path, 'pt'):
            pass
    except SafetensorError as error:
        raise _damaged(path, str(error)) from error


def _is_first_on_this_machine() -> bool:
    """Whether this process is the one of its machine that checks files; all of them read the same."""
    return all(os.environ.get(name, '0') == '0' for name in LOCAL_RANKS)


def _damaged(path: Path, reason: str, or_else: str = '') -> CheckpointError:
    if path.parent == cache_folder():
        remedy = 'It is a download: move it out of this folder, and the next use downloads it again.'
    else:
        remedy = 'Copy it once more from where it came, or use another checkpoint.'
    return CheckpointError(f'{path} is damaged or cut off{or_else} ({reason}). {remedy}', damaged=True, reason=reason)


def _too_large(path: Path) -> CheckpointError:
    size = path.stat().st_size / 2**30
    return CheckpointError(f'{path} has {size:.1f} GiB, and there is not enough memory to read it.', damaged=False)
