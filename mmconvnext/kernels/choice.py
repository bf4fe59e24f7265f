"""Decides where a kernel takes the place of a block's own layers, in this one place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from mmconvnext.kernels.tensors import is_plain

Path = Literal['auto', 'reference']
PATHS = ('auto', 'reference')


def _path_of_environment() -> str:
    path = os.environ.get('MMCONVNEXT_KERNELS', 'auto')
    if path not in PATHS:
        raise ValueError(f'MMCONVNEXT_KERNELS={path!r} must be one of {", ".join(PATHS)}.')
    return path


_path = _path_of_environment()


@contextmanager
def use(path: Path) -> Iterator[None]:
    """Computes blocks by the fastest path that is exact (``auto``, the default), or layer by layer (``reference``).

    The environment variable ``MMCONVNEXT_KERNELS`` says the same for a whole process.

    Raises:
        ValueError: If there is no such path.
    """
    global _path
    if path not in PATHS:
        raise ValueError(f'kernels.use({path!r}): the paths are {", ".join(PATHS)}.')
    before, _path = _path, path
    try:
        yield
    finally:
        _path = before


def runs_fused(block: nn.Module, x: Tensor) -> bool:
    """Whether the fused CPU path computes this block on this input; otherwise its own layers do.

    It needs float32 on the CPU, run eagerly: a tracer, compiler, transform or dispatch mode has to see the layers.
    """
    return (
        _path == 'auto'
        and not torch.compiler.is_compiling()
        and type(x) is Tensor
        and x.device.type == 'cpu'
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled('cpu')
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and torch._C._len_torch_dispatch_stack() == 0
        and all(parameter.dtype == torch.float32 for parameter in block.parameters())
        and is_plain(block)
    )
