"""Reads the content of a checkpoint file, without running code that it may hold."""

import argparse
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from mmconvnext.checkpoints import shards
from mmconvnext.checkpoints.check_file import check_file, damage
from mmconvnext.checkpoints.errors import CheckpointError, UnsafeFileError

# PyTorch reports it as a RuntimeError
OUT_OF_MEMORY = re.compile(r"not enough memory|can't allocate memory|out of memory|Cannot allocate memory")

# What torch.load raises for foreign pickles, and for these and damaged files
FOREIGN = (AttributeError, ImportError, LookupError, TypeError, ValueError)
UNREADABLE = (*FOREIGN, pickle.UnpicklingError, RuntimeError, EOFError, AssertionError, struct.error)


def read_file(path: Path, allow_pickle: bool = False) -> Any:
    """Reads a checkpoint onto the CPU.

    Args:
        path: A .pth, .pt, .bin or .safetensors file, told apart by content; or the .index.json of a sharded model.
        allow_pickle: Read files that hold Python objects, too. Reading such a file can run any code, so it must come
            from someone you trust.

    Returns:
        Whatever was saved: usually a dictionary of tensors, or one that holds such a dictionary.

    Raises:
        UnsafeFileError: If the file holds Python objects and ``allow_pickle`` is False.
        CheckpointError: If it is not a checkpoint, is damaged, is one shard of several, or exceeds the memory.
    """
    if shards.is_index(path):
        whole: dict[str, Any] = {}
        for shard in shards.read_index(path):
            whole |= _read_one(shard, allow_pickle)
        return whole
    shards.refuse_single_shard(path)
    return _read_one(path, allow_pickle)


def _read_one(path: Path, allow_pickle: bool) -> Any:
    is_safetensors = check_file(path) == 'safetensors'
    try:
        if is_safetensors:
            return load_file(path)
        # Training programs save their parsed command line beside the weights
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location='cpu', weights_only=not allow_pickle)
    except SafetensorError as error:
        raise damage(path, str(error)) from error
    except MemoryError as error:
        raise _too_large(path) from error
    except UNREADABLE as error:
        text = str(error) or type(error).__name__
        if OUT_OF_MEMORY.search(text):
            raise _too_large(path) from error
        if unsafe := re.search(r'Unsupported global: GLOBAL (\S+)', text):
            message = (
                f'{path} holds a Python object, {unsafe[1]}. Such a file can run any code as it is read, so it was not '
                'read. If you trust its author, set allow_pickle=True in the init_cfg, or convert it with '
                'tools/convert_checkpoint.py --allow-pickle, which writes a file of tensors only.'
            )
            raise UnsafeFileError(message, file=path, object=unsafe[1]) from error
        if 'TorchScript' in text:
            message = (
                f'{path} is a TorchScript program, not a checkpoint. Save the state_dict() of what torch.jit.load '
                'returns.'
            )
            raise CheckpointError(message, file=path, found='a TorchScript program') from error
        reason = text.partition('WeightsUnpickler error:')[2].strip() or text
        raise damage(path, f'PyTorch cannot read it: {reason.splitlines()[0][:120]}') from error


def _too_large(path: Path) -> CheckpointError:
    size = path.stat().st_size
    message = f'{path} has {size / 2**30:.1f} GiB, and there is not enough memory to read it.'
    return CheckpointError(message, file=path, bytes=size, damaged=False)
