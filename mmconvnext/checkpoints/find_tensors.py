"""From the content of a file to its tensors by name: which entry holds them, and what is wrapped around names."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmconvnext.checkpoints.errors import CheckpointError

# Entries in which training programs save the weights. If a file has several, the first of this list is taken
WEIGHT_ENTRIES = ('state_dict', 'model', 'model_state_dict', 'module', 'model_ema', 'state_dict_ema', 'ema_state_dict')

# What torch.compile, activation checkpointing and FSDP insert into names
NAME_WRAPPERS = re.compile(r'(?:^|(?<=\.))(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.')

# Buffers that thop adds to every module
COUNTERS = ('total_ops', 'total_params')


class FileTensors(NamedTuple):
    """The tensors of a file.

    Args:
        tensors: By name.
        notes: Remarks for the log, such as which of several sets of weights was taken.
    """

    tensors: dict[str, Tensor]
    notes: list[str]


def tensors_in(content: Any, source: str, key: str | None = None) -> FileTensors:
    """Finds the tensors in the content of a file.

    Args:
        content: What :func:`~mmconvnext.checkpoints.read_file.read_file` returns.
        source: The file's name for messages.
        key: The entry that holds the tensors, such as ``model_ema`` or ``teacher.backbone``. By default the usual
            entries are searched.

    Raises:
        CheckpointError: If there are no tensors, or other values among them.
    """
    for part in key.split('.') if key else ():
        if not isinstance(content, Mapping) or part not in content:
            raise CheckpointError(f'{source} has no key={key!r}; {_describe(content)}.', file=source, key=key)
        content = content[part]
    notes: list[str] = []
    while True:
        if isinstance(content, nn.Module):  # a whole model was pickled
            content = content.state_dict()
        if not isinstance(content, Mapping):
            found = type(content).__name__
            raise CheckpointError(f'{source} holds a {found}, not tensors by name.', file=source, found=found)
        entries = [name for name in WEIGHT_ENTRIES if isinstance(content.get(name), Mapping | nn.Module)]
        if not entries:
            break
        if len(entries) > 1:
            notes.append(_which_of_several(content, entries))
        content = content[entries[0]]
    tensors = {name: _as_tensor(value) for name, value in content.items()}
    _check_entries(content, tensors, source)
    if arrays := sum(isinstance(value, np.ndarray) for value in content.values()):
        notes.append(f'{arrays} NumPy arrays read as tensors')
    counters = [name for name in tensors if name.rpartition('.')[2] in COUNTERS]
    if counters:
        notes.append(f'{len(counters)} counters of thop left out')
    unwrapped: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        short = NAME_WRAPPERS.sub('', name)
        if short in unwrapped:
            message = f'{source} holds {short} twice, once under the name of a wrapper such as _orig_mod.'
            raise CheckpointError(message, file=source, tensor=short)
        if name not in counters:
            unwrapped[short] = tensor
    return FileTensors(unwrapped, notes)


def _as_tensor(value: Any) -> Any:
    """Converts a NumPy array of numbers; leaves everything else as it is."""
    return torch.from_numpy(value) if isinstance(value, np.ndarray) and value.dtype.kind in 'fiub' else value


def _check_entries(content: Mapping[Any, Any], tensors: Mapping[Any, Any], source: str) -> None:
    """Checks that all entries are dense tensors by name."""
    if {'param_groups', 'optimizer'} & content.keys():
        message = f'{source} holds the state of an optimizer and no weights; {_describe(content)}.'
        raise CheckpointError(message, file=source, found='the state of an optimizer')
    others = [name for name, tensor in tensors.items() if not (isinstance(name, str) and isinstance(tensor, Tensor))]
    if others or not tensors:
        message = (
            f'{source} holds no dictionary of tensors by name, neither at the top nor in an entry named '
            f'{", ".join(WEIGHT_ENTRIES)}; {_describe(content)}. Name the entry that holds the weights with key=....'
        )
        raise CheckpointError(message, file=source, entries=list(content))
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_meta:
            kind = 'on the meta device, without values' if tensor.is_meta else f'a sparse tensor ({tensor.layout})'
            raise CheckpointError(f'{source}: {name} is {kind}. Save dense tensors.', file=source, tensor=name)


def _which_of_several(content: Mapping[str, Any], entries: list[str]) -> str:
    taken, *others = entries
    if taken == 'state_dict' and 'ema_state_dict' in others and 'message_hub' in content:
        return "averaged weights, which MMEngine's EMAHook saves as state_dict (the raw ones: ema_state_dict)"
    return f'{taken} taken, {", ".join(others)} beside it not'


def _describe(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f'it holds a {type(content).__name__}'
    kinds = [f'{name} ({type(value).__name__})' for name, value in list(content.items())[:6]]
    return f'it holds {", ".join(kinds) or "nothing"}{", ..." if len(content) > 6 else ""}'
