"""Lets ``torch.load(..., weights_only=True)`` read what MMEngine's Runner saves, and no more than that.

PyTorch 2.6 made the restricted unpickler its default. It refuses the log history and the NumPy scalars beside the
weights: mmengine 0.10.7 then cannot resume its own training, and onedl-mmengine 0.10.12, which knows some but not all
of these types, falls back to the unrestricted one.
"""

from collections.abc import Callable, Iterator
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

# A pickle holds a method of a class as a call of getattr. A checkpoint holds these, in each log history and in the
# state of a one-cycle schedule.
METHODS = (
    (HistoryBuffer, 'min'),
    (HistoryBuffer, 'max'),
    (HistoryBuffer, 'current'),
    (HistoryBuffer, 'mean'),
    (OneCycleParamScheduler, '_annealing_cos'),
    (OneCycleParamScheduler, '_annealing_linear'),
)


def install_checkpoint_globals() -> None:
    """Declares what a Runner's checkpoint holds beside tensors safe to load."""
    torch.serialization.add_safe_globals(list(_checkpoint_globals()))


def _checkpoint_globals() -> Iterator[tuple[Callable[..., Any], str]]:
    """Yields each object with the name a checkpoint has for it.

    The pairs are also what keeps them declared: onedl-mmengine declares some of the bare objects for the time of a
    load, and takes them back after it, whoever declared them first.
    """
    yield _getattr, 'builtins.getattr'
    for owner in (HistoryBuffer, OneCycleParamScheduler, np.ndarray, np.dtype):
        yield owner, f'{owner.__module__}.{owner.__qualname__}'
    # NumPy 2 renamed numpy.core; checkpoints keep the name of the NumPy that wrote them.
    for value in (np.empty(0), np.float64()):
        rebuild: Any = value.__reduce__()[0]
        for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
            yield rebuild, f'{module}.{rebuild.__name__}'
    for code in np.typecodes['AllInteger'] + np.typecodes['Float'] + '?':
        number = type(np.dtype(code))
        yield number, f'{number.__module__}.{number.__qualname__}'


def _getattr(owner: object, name: str) -> Callable[..., Any]:
    # What a pickle gets for builtins.getattr, which itself would open every attribute of what is declared.
    if (owner, name) not in METHODS:
        raise UnpicklingError(
            f'The checkpoint asks for the attribute {name!r} of {owner!r}, which no Runner saves. Load it with '
            'weights_only=False only if you trust whoever made it.'
        )
    return getattr(owner, name)
