"""The door to the kernels: chooses how a block is computed, in this one place."""

import importlib.metadata
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Literal, NamedTuple, Protocol

import torch
import torch.utils.checkpoint
from torch import Tensor
from torch.autograd import forward_ad

from mmconvnext.errors import UserError
from mmconvnext.kernels.cpu import chunked_forward
from mmconvnext.kernels.cpu.operators import cpu_block
from mmconvnext.kernels.tensors import BlockTensors
from mmconvnext.kernels.triton.operators import triton_block

KernelPath = Literal['auto', 'reference', 'triton']
PATHS = ('auto', 'reference', 'triton')
Memory = Literal['speed', 'balanced', 'min']
MEMORY = ('speed', 'balanced', 'min')

# What 'auto' takes on each kind of device. No GPU has measured the Triton kernels yet, so CUDA has the reference.
# 'cpu' is the chunked path of kernels/cpu, which is not asked for by name
AUTO = {'cpu': 'cpu', 'cuda': 'reference'}

# What the Triton kernels were compiled for: A100 (8.0), H100 and H200 (9.0). Other GPUs have less shared memory, or
# were not tried
CAPABILITIES = ((8, 0), (9, 0))
OLDEST_TRITON = (3, 8)
TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
PACKED_PIXELS = 1024  # number of pixels that packed weights are laid out for
# Largest size of a launch's second and third axis
GRID = 65535
# Tests run the kernels on CPU tensors, in Triton's interpreter
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'


def _has_triton() -> bool:
    try:
        version = importlib.metadata.version('triton')
    except importlib.metadata.PackageNotFoundError:
        return False
    return tuple(int(part) for part in re.findall(r'\d+', version)[:2]) >= OLDEST_TRITON


HAS_TRITON = _has_triton()


class Choice(NamedTuple):
    """How blocks are computed, and what training keeps of them; see :func:`use`."""

    path: str
    memory: str


FROM_ENVIRONMENT = Choice(os.environ.get('MMCONVNEXT_KERNELS', 'auto'), os.environ.get('MMCONVNEXT_MEMORY', 'balanced'))
_CHOICE = ContextVar('choice', default=FROM_ENVIRONMENT)  # each thread has its own


def check_environment() -> None:
    """Checks the environment variables. Every backbone calls this as it is built, since an import must not fail.

    Raises:
        UserError: If a variable has an unknown value.
    """
    allowed = dict(MMCONVNEXT_KERNELS=PATHS, MMCONVNEXT_MEMORY=MEMORY)
    for (variable, values), value in zip(allowed.items(), FROM_ENVIRONMENT):
        if value not in values:
            raise UserError(f'{variable}={value!r} must be one of {", ".join(values)}.', variable=variable)


@contextmanager
def use(path: KernelPath, memory: Memory | None = None) -> Iterator[None]:
    """Sets how blocks are computed inside a ``with``, in this thread.

    The environment variables ``MMCONVNEXT_KERNELS`` and ``MMCONVNEXT_MEMORY`` set the same for a whole process. A
    backbone with ``with_cp`` recomputes each block by the path of its forward. If you call ``torch.utils.checkpoint``
    yourself, put the backward into the same ``with``.

    Args:
        path: ``auto``, the default, is the fastest path that is exact. ``reference`` is layer by layer. ``triton`` is
            the GPU kernels, and layer by layer where they cannot run; :func:`why_not_triton` gives the reason.
        memory: What training keeps of each block for its backward: ``speed``, ``balanced`` or ``min``, see
            :func:`~mmconvnext.kernels.cpu.operators.cpu_block` and
            :func:`~mmconvnext.kernels.triton.operators.triton_block`. None leaves it as it is, at first ``balanced``.

    Raises:
        UserError: If there is no such path or memory.
    """
    if path not in PATHS:
        raise UserError(f'kernels.use({path!r}): the paths are {", ".join(PATHS)}.', path=path)
    if memory is not None and memory not in MEMORY:
        raise UserError(
            f'kernels.use({path!r}, memory={memory!r}): memory is one of {", ".join(MEMORY)}.', memory=memory
        )
    with _chosen(Choice(path, memory or _CHOICE.get().memory)):
        yield


@contextmanager
def _chosen(choice: Choice) -> Iterator[None]:
    before = _CHOICE.set(choice)
    try:
        yield
    finally:
        _CHOICE.reset(before)


def checkpoint(block: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Runs a block on ``x``, and again in the backward instead of keeping its activations.

    The backward may run in another thread, or after :func:`use` has ended, so the path of the forward is noted here.
    """
    if torch.compiler.is_compiling():  # a compiler chooses the path once, and takes no contexts
        return torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)
    choice = _CHOICE.get()
    return torch.utils.checkpoint.checkpoint(
        block, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _chosen(choice))
    )


# Computes a block's output from its input (B, C, H, W) and stochastic depth's factor of each sample (B,)
Kernel = Callable[[Tensor, Tensor | None], Tensor]


def kernel_for(x: Tensor, tensors: Callable[[], BlockTensors | None]) -> Kernel | None:
    """Chooses the kernel that computes a block, or None where its layers have to.

    Args:
        x: Input of the block, (B, C, H, W).
        tensors: Returns the block's parameters, or None if a layer was replaced or hooked. It takes longer than all
            other checks, so it is called last.
    """
    choice = _CHOICE.get()
    path = AUTO.get(x.device.type, 'reference') if choice.path == 'auto' else choice.path
    if path == 'cpu':
        t = tensors() if _runs_on_cpu(x) and x.dtype == torch.float32 else None
        if t is not None and all(tensor is None or tensor.dtype == torch.float32 for tensor in t):
            return partial(cpu_block, t=t, memory=choice.memory)
    elif path == 'triton' and _unfit_input(x) is None:
        t = tensors()
        if t is not None and _unfit_parameters(x, t) is None:
            return partial(triton_block, t=t, memory=choice.memory)
    return None


def can_run_packed(x: Tensor) -> bool:
    """Whether :func:`pack` may compute a block on ``x``: eagerly, on the CPU, outside autocast."""
    return (
        _CHOICE.get().path == 'auto'
        and not torch.compiler.is_compiling()
        and type(x) is Tensor  # torch.fx has a Proxy
        and x.device.type == 'cpu'
        and _runs_on_cpu(x)
    )


def pack(t: BlockTensors) -> Callable[[Tensor], Tensor]:
    """Packs a block's weights for the CPU, and returns the function that computes the block with them.

    It takes and returns (B, C, H, W). There is no gradient, and no stochastic depth.
    """
    prepared = chunked_forward.prepare(t, PACKED_PIXELS, fuse_gelu=True, pack=True)
    return lambda x: chunked_forward.forward(x.contiguous(memory_format=torch.channels_last), prepared)[0]


class HasTensors(Protocol):
    """A block, such as :class:`mmconvnext.backbones.convnext.Block`."""

    def kernel_tensors(self) -> BlockTensors | None:
        """Returns the block's parameters, or None if a layer was replaced or hooked."""


def why_not_triton(block: HasTensors, x: Tensor) -> str | None:
    """Returns the reason why the Triton kernels cannot compute a block on ``x``, as a sentence; None if they can.

    They can under compilers, which see one operator, activation checkpointing, and PyTorch's deterministic mode, since
    their sums have a fixed order. A second derivative shows too late to choose the layers: it raises PyTorch's error.
    """
    reason = _unfit_input(x)
    if reason is not None:
        return reason
    t = block.kernel_tensors()
    return 'A layer of the block was replaced, or has a hook.' if t is None else _unfit_parameters(x, t)


def _unfit_input(x: Tensor) -> str | None:
    # Why the Triton kernels cannot run on this input, whatever the block
    if not HAS_TRITON:
        return f'Triton {".".join(map(str, OLDEST_TRITON))} or newer is not installed.'
    if _needs_layers(x):
        return 'An exporter, a tracer, a transform, a dispatch mode or a subclass of Tensor has to see the layers.'
    if not (INTERPRETED and x.device.type == 'cpu'):
        if x.device.type != 'cuda' or torch.version.hip is not None:
            return 'The kernels are for NVIDIA GPUs.'
        if torch.cuda.get_device_capability(x.device) not in CAPABILITIES:
            return 'The kernels were not tried on a GPU of this compute capability.'
    for dtype in (x.dtype, _product_dtype(x)):
        if dtype not in TRITON_DTYPES:
            return f'The kernels have no {dtype}.'
    samples, channels, height, _ = x.shape
    if channels % 8:
        return f'{channels} channels are not a multiple of 8.'
    if samples == 0:
        return 'The batch is empty.'
    # The largest tensors are the 4C-wide activations, and the second weight with each sample's GRN factor in it
    if 4 * max(x.numel(), samples * channels**2) >= 2**31:
        return 'The maps have more elements than 32-bit offsets reach.'
    if max(samples, height) > GRID:
        return f'A launch has room for {GRID} samples and rows.'
    return None


def _unfit_parameters(x: Tensor, t: BlockTensors) -> str | None:
    if t.w1.device != x.device:
        return 'The parameters are on another device than the input.'
    autocast = torch.is_autocast_enabled(x.device.type)
    if not autocast and any(tensor is not None and tensor.dtype != x.dtype for tensor in t):
        return 'The parameters have another dtype than the input.'
    return None


def _product_dtype(x: Tensor) -> torch.dtype:
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def _runs_on_cpu(x: Tensor) -> bool:
    return not _needs_layers(x) and not torch.is_autocast_enabled('cpu') and x.numel() > 0


def _needs_layers(x: Tensor) -> bool:
    # Whether something has to see PyTorch's own operators: an exporter, a tracer, a transform, a dispatch mode,
    # forward-mode differentiation or a subclass of Tensor. Compilers may see custom operators
    if torch.compiler.is_exporting() or torch.jit.is_tracing():
        return True
    return not torch.compiler.is_compiling() and (
        type(x) is not Tensor
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
        or forward_ad._current_level >= 0
    )
