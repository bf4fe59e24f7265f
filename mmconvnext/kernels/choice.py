"""Decides where a kernel takes the place of a block's own layers, in this one place."""

import importlib.metadata
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from mmconvnext.kernels.plain import is_plain

Path = Literal['auto', 'reference', 'triton']
PATHS = ('auto', 'reference', 'triton')
Memory = Literal['speed', 'balanced', 'min']
MEMORY = ('speed', 'balanced', 'min')

# What 'auto' takes on each kind of device. On CUDA it is the layers: no GPU has measured the Triton kernels yet
AUTO = {'cpu': 'cpu', 'cuda': 'reference'}

# Pixels for each channel from which on the CPU path takes GRN. It folds GRN into weights, anew for each sample, which
# few pixels do not repay: training V2-T at 320x320 took 1.4 times as long as layer by layer
GRN_PIXELS = 4

# What the Triton kernels were compiled for: A100 (8.0), H100 and H200 (9.0). Others have less shared memory, or were
# not tried
CAPABILITIES = ((8, 0), (9, 0))
OLDEST_TRITON = (3, 8)
# Triton's interpreter runs the kernels on CPU tensors, for tests
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'


def _of_environment(variable: str, default: str, allowed: tuple[str, ...]) -> str:
    value = os.environ.get(variable, default)
    if value not in allowed:
        raise ValueError(f'{variable}={value!r} must be one of {", ".join(allowed)}.')
    return value


def _has_triton() -> bool:
    try:
        version = importlib.metadata.version('triton')
    except importlib.metadata.PackageNotFoundError:
        return False
    return tuple(int(part) for part in re.findall(r'\d+', version)[:2]) >= OLDEST_TRITON


HAS_TRITON = _has_triton()
_path = _of_environment('MMCONVNEXT_KERNELS', 'auto', PATHS)
_memory = _of_environment('MMCONVNEXT_MEMORY', 'balanced', MEMORY)


@contextmanager
def use(path: Path, memory: Memory | None = None) -> Iterator[None]:
    """Computes blocks by the fastest path that is exact (``auto``, the default), or by another one.

    ``reference`` is layer by layer. ``triton`` takes the GPU kernels wherever they can run, and the layers elsewhere;
    :func:`why_not_triton` says where and why. The environment variables ``MMCONVNEXT_KERNELS`` and
    ``MMCONVNEXT_MEMORY`` say the same for a whole process.

    Args:
        path: How to compute.
        memory: What the Triton kernels keep of a block for the pass back, ``speed``, ``balanced`` or ``min``: see
            :func:`mmconvnext.kernels.triton.block.block`. By default what it was, at first ``balanced``.

    Raises:
        ValueError: If there is no such path or choice.
    """
    global _path, _memory
    if path not in PATHS:
        raise ValueError(f'kernels.use({path!r}): the paths are {", ".join(PATHS)}.')
    if memory is not None and memory not in MEMORY:
        raise ValueError(f'kernels.use({path!r}, memory={memory!r}): memory is one of {", ".join(MEMORY)}.')
    before = _path, _memory
    _path, _memory = path, memory or _memory
    try:
        yield
    finally:
        _path, _memory = before


def memory() -> str:
    """What the Triton kernels keep for the pass back."""
    return _memory


def runs_fused(block: nn.Module, x: Tensor) -> bool:
    """Whether the fused CPU path computes this block on this input; otherwise its own layers do.

    It needs float32 on the CPU, run eagerly: a tracer, compiler, transform or dispatch mode has to see the layers.
    """
    return (
        _path == 'auto'
        and AUTO.get(x.device.type) == 'cpu'
        and not torch.compiler.is_compiling()
        and type(x) is Tensor
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled('cpu')
        and not torch.jit.is_tracing()
        and x.numel() > 0
        and not torch._C._are_functorch_transforms_active()
        and torch._C._len_torch_dispatch_stack() == 0
        and forward_ad._current_level < 0
        and all(parameter.dtype == torch.float32 for parameter in block.parameters())
        and is_plain(block)
        and (type(block.grn) is nn.Identity or x.shape[2] * x.shape[3] >= GRN_PIXELS * x.shape[1])
    )


def runs_triton(block: nn.Module, x: Tensor) -> bool:
    """Whether the Triton kernels compute this block on this input; otherwise the CPU path or its own layers do."""
    path = AUTO.get(x.device.type, 'reference') if _path == 'auto' else _path
    return path == 'triton' and why_not_triton(block, x) is None


def why_not_triton(block: nn.Module, x: Tensor) -> str | None:
    """Why the Triton kernels cannot compute this block on this input, as a sentence; None where they can.

    Compilers see one operator, so they may be at work; so may activation checkpointing and PyTorch's deterministic
    mode, since the kernels' sums have a fixed order. A second derivative is the one thing that is found out too late
    for the layers to take over: it raises PyTorch's error.
    """
    if not HAS_TRITON:
        return f'Triton {".".join(map(str, OLDEST_TRITON))} or newer is not installed.'
    if torch.compiler.is_exporting() or torch.jit.is_tracing():
        return 'An exporter has to see the layers.'
    if not torch.compiler.is_compiling() and (
        type(x) is not Tensor or torch._C._are_functorch_transforms_active() or torch._C._len_torch_dispatch_stack() > 0
    ):
        return 'A transform, a dispatch mode or a subclass of Tensor has to see the layers.'
    if not (INTERPRETED and x.device.type == 'cpu'):
        if x.device.type != 'cuda' or torch.version.hip is not None:
            return 'The kernels are for NVIDIA GPUs.'
        if torch.cuda.get_device_capability(x.device) not in CAPABILITIES:
            return 'The kernels were not tried on a GPU of this compute capability.'
    autocast = torch.is_autocast_enabled(x.device.type)
    dtype = torch.get_autocast_dtype(x.device.type) if autocast else x.dtype
    if dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f'The kernels have no {dtype}.'
    if not autocast and any(parameter.dtype != dtype for parameter in block.parameters()):
        return 'The parameters have another dtype than the input.'
    if x.shape[1] % 8:
        return f'{x.shape[1]} channels are no multiple of 8.'
    if 4 * x.numel() >= 2**31:
        return 'The maps have more elements than 32-bit offsets reach.'
    if not is_plain(block):
        return 'A layer of the block was replaced, or has a hook.'
    return None
