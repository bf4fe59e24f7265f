"""Decides where a kernel takes the place of a block's own layers, in this one place."""

import importlib.metadata
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from mmconvnext.errors import UserError
from mmconvnext.kernels.plain import is_plain

Path = Literal['auto', 'reference', 'triton']
PATHS = ('auto', 'reference', 'triton')
Memory = Literal['speed', 'balanced', 'min']
MEMORY = ('speed', 'balanced', 'min')

# What 'auto' takes on each kind of device. On CUDA it is the layers: no GPU has measured the Triton kernels yet
AUTO = {'cpu': 'cpu', 'cuda': 'reference'}

# What the Triton kernels were compiled for: A100 (8.0), H100 and H200 (9.0). Others have less shared memory, or were
# not tried
CAPABILITIES = ((8, 0), (9, 0))
OLDEST_TRITON = (3, 8)
TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Programs along any axis of a launch but the first
GRID = 65535
# Triton's interpreter runs the kernels on CPU tensors, for tests
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'


def _has_triton() -> bool:
    try:
        version = importlib.metadata.version('triton')
    except importlib.metadata.PackageNotFoundError:
        return False
    return tuple(int(part) for part in re.findall(r'\d+', version)[:2]) >= OLDEST_TRITON


HAS_TRITON = _has_triton()


class Choice(NamedTuple):
    """How blocks are computed, and what training keeps of them: see :func:`use`."""

    path: str
    memory: str


OF_THE_PROCESS = Choice(os.environ.get('MMCONVNEXT_KERNELS', 'auto'), os.environ.get('MMCONVNEXT_MEMORY', 'balanced'))
_CHOICE = ContextVar('choice', default=OF_THE_PROCESS)  # each thread has its own


def check_environment() -> None:
    """Checks the environment's choice. An import has no place for errors of the user's, so every backbone asks.

    Raises:
        UserError: If a variable has a value that is unknown.
    """
    allowed = dict(MMCONVNEXT_KERNELS=PATHS, MMCONVNEXT_MEMORY=MEMORY)
    for (variable, values), value in zip(allowed.items(), OF_THE_PROCESS):
        if value not in values:
            raise UserError(f'{variable}={value!r} must be one of {", ".join(values)}.', variable=variable)


@contextmanager
def use(path: Path, memory: Memory | None = None) -> Iterator[None]:
    """Computes blocks by the fastest path that is exact (``auto``, the default), or by another one, in this thread.

    ``reference`` is layer by layer. ``triton`` takes the GPU kernels wherever they can run, and the layers elsewhere;
    :func:`why_not_triton` says where and why. The environment variables ``MMCONVNEXT_KERNELS`` and
    ``MMCONVNEXT_MEMORY`` say the same for a whole process. A backbone with ``with_cp`` computes again as it computed
    first; around a ``torch.utils.checkpoint`` of your own, put the backward pass into the same ``with``.

    Args:
        path: How to compute.
        memory: What training keeps of a block for the pass back, ``speed``, ``balanced`` or ``min``: see
            :func:`mmconvnext.kernels.cpu.block.block` and :func:`mmconvnext.kernels.triton.block.block`. By default
            what it was, at first ``balanced``.

    Raises:
        ValueError: If there is no such path or choice.
    """
    if path not in PATHS:
        raise UserError(f'kernels.use({path!r}): the paths are {", ".join(PATHS)}.')
    if memory is not None and memory not in MEMORY:
        raise UserError(f'kernels.use({path!r}, memory={memory!r}): memory is one of {", ".join(MEMORY)}.')
    before = _CHOICE.set(Choice(path, memory or _CHOICE.get().memory))
    try:
        yield
    finally:
        _CHOICE.reset(before)


def memory() -> str:
    """What the kernels keep for the pass back."""
    return _CHOICE.get().memory


def contexts_of_recomputation() -> tuple[AbstractContextManager, AbstractContextManager]:
    """For ``context_fn`` of PyTorch's activation checkpointing: what is computed again takes the path it took first.

    The backward pass may run in another thread, or after :func:`use` has ended.
    """
    return nullcontext(), _again(_CHOICE.get())


@contextmanager
def _again(choice: Choice) -> Iterator[None]:
    before = _CHOICE.set(choice)
    try:
        yield
    finally:
        _CHOICE.reset(before)


def runs_fused(block: nn.Module, x: Tensor) -> bool:
    """Whether the fused CPU path computes this block on this input; otherwise its own layers do.

    It needs float32 on the CPU. A tracer, exporter, transform or dispatch mode has to see the layers; compilers see one
    operator.
    """
    return (
        _CHOICE.get().path == 'auto'
        and AUTO.get(x.device.type) == 'cpu'
        and not torch.compiler.is_exporting()
        and not torch.jit.is_tracing()
        and (torch.compiler.is_compiling() or not is_watched(x))
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled('cpu')
        and x.numel() > 0
        and all(parameter.dtype == torch.float32 for parameter in block.parameters())
        and is_plain(block)
    )


def runs_triton(block: nn.Module, x: Tensor) -> bool:
    """Whether the Triton kernels compute this block on this input; otherwise the CPU path or its own layers do."""
    path = _CHOICE.get().path
    if path == 'auto':
        path = AUTO.get(x.device.type, 'reference')
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
    if not torch.compiler.is_compiling() and is_watched(x):
        return 'A transform, a dispatch mode or a subclass of Tensor has to see the layers.'
    if not (INTERPRETED and x.device.type == 'cpu'):
        if x.device.type != 'cuda' or torch.version.hip is not None:
            return 'The kernels are for NVIDIA GPUs.'
        if torch.cuda.get_device_capability(x.device) not in CAPABILITIES:
            return 'The kernels were not tried on a GPU of this compute capability.'
    if not is_plain(block):
        return 'A layer of the block was replaced, or has a hook.'
    autocast = torch.is_autocast_enabled(x.device.type)
    dtype = torch.get_autocast_dtype(x.device.type) if autocast else x.dtype
    for kind in (x.dtype, dtype):
        if kind not in TRITON_DTYPES:
            return f'The kernels have no {kind}.'
    if next(block.parameters()).device != x.device:  # a block moves as a whole
        return 'The parameters are on another device than the input.'
    if not autocast and any(parameter.dtype != dtype for parameter in block.parameters()):
        return 'The parameters have another dtype than the input.'
    samples, channels, height, _ = x.shape
    if channels % 8:
        return f'{channels} channels are no multiple of 8.'
    if samples == 0:
        return 'There is no sample.'
    # Of what lies inside the MLP, or of the second matrix with V2's response of each sample in it
    if 4 * max(x.numel(), samples * channels**2) >= 2**31:
        return 'The maps have more elements than 32-bit offsets reach.'
    if max(samples, height) > GRID:
        return f'A launch has room for {GRID} samples and rows.'
    return None


def is_watched(x: Tensor) -> bool:
    """Whether a transform, a dispatch mode, forward-mode differentiation or a subclass of Tensor has to see layers."""
    return (
        type(x) is not Tensor
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
        or forward_ad._current_level >= 0
    )
