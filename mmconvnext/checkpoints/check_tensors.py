"""Checks the names, shapes, types and values of tensors against those that a model expects."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mmconvnext.checkpoints.errors import CheckpointError, count_and_list

# 8-bit floats are not among them: their scale is stored elsewhere
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_tensors(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Checks ``state`` against ``wanted``, whose values do not matter.

    Returns:
        ``state``, converted to the types of ``wanted``.

    Raises:
        CheckpointError: If a tensor is missing or unexpected, has another shape or kind of type, or has a value that
            is NaN or infinite, or becomes so by the conversion.
    """
    missing, unexpected = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or unexpected:
        faults = [f'{count_and_list(missing)} missing'] * bool(missing)
        faults += [f'{count_and_list(unexpected)} left over'] * bool(unexpected)
        message = f'{source} does not fit the model: {" and ".join(faults)}.'
        raise CheckpointError(message, file=source, missing=missing, unexpected=unexpected)
    if misshapen := sorted(name for name in wanted if state[name].shape != wanted[name].shape):
        name = misshapen[0]
        theirs, ours = tuple(state[name].shape), tuple(wanted[name].shape)
        message = (
            f'{source} does not fit the model: {count_and_list(misshapen)} of other shapes; {name} is {theirs} there '
            f'and {ours} here.'
        )
        raise CheckpointError(message, file=source, misshapen=misshapen, shape=theirs, expected=ours)
    checked = {}
    for name, given in state.items():
        dtype = wanted[name].dtype
        if (given.dtype in FLOATS) != dtype.is_floating_point:
            raise CheckpointError(
                f'{source}: {name} is of {given.dtype}, not of {dtype}.', file=source, tensor=name, dtype=given.dtype
            )
        checked[name] = tensor = given.to(dtype)
        if bad := int((~torch.isfinite(tensor)).sum()):
            message = (
                f'{source}: {bad} of the {tensor.numel()} values of {name} are NaN or infinite as {dtype}. The '
                'training that wrote it had diverged, or the file is damaged.'
            )
            raise CheckpointError(message, file=source, tensor=name, count=bad)
    return checked
