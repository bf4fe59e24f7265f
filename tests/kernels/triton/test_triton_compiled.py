"""The kernels as GPU binaries, which Triton compiles without a GPU."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmconvnext.backbones.sizes import ARCHS
from mmconvnext.kernels.triton import tiles

WIDTHS = {w for arch in ARCHS.values() for w in arch.widths if tiles.has_norm_mlp(w)}
# Of one block of threads, bytes
SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024}
# The widest of the published widths that have the same tile, which needs most shared memory
NARROW = sorted({tiles.norm_mlp(w): w for w in sorted(WIDTHS)}.values())

# Launches blocks of many sizes on a GPU that is not there, and prints what would be compiled for each size
LAUNCHES = """
import itertools, json, torch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from mmconvnext.backbones.convnext import Block
from mmconvnext.kernels.tensors import BlockTensors
from mmconvnext.kernels.triton import launches

class Driver:
    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

    def get_current_target(self):
        return GPUTarget('cuda', 90, 32)

def record(*, fn, key, **rest):
    found.add(f'{fn.name} {key}')
    return True  # compile nothing, launch nothing

driver.set_active(Driver())
knobs.runtime.jit_cache_hook = record
sizes = [(1, 1, 1), (2, 16, 16), (3, 25, 42), (16, 7, 4)]
for size, width, version in itertools.product(sizes, (96, 384), (1, 2)):
    found = set()
    t = BlockTensors(*(None if p is None else p.detach() for p in
        Block(width, 0.0, float(version == 1), version == 2).kernel_tensors()))
    x, scales = torch.zeros(*size, width), torch.ones(size[0])
    _, y, hidden, gx = launches.forward(x, t, scales, torch.bfloat16, True)
    launches.backward(x, x, y, hidden, gx, t, scales, torch.bfloat16)
    print(json.dumps([width, version, sorted(found)]))
"""


def test_no_size_of_a_map_or_batch_compiles_a_kernel_again(python: str, root: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != 'TRITON_INTERPRET'}
    run = subprocess.run(
        [python, '-c', LAUNCHES], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    compiled: dict[tuple[int, int], list] = {}
    for line in run.stdout.splitlines():
        width, version, found = json.loads(line)
        compiled.setdefault((width, version), []).append(found)
    # Depthwise forward, backward and weights; the MLP forward and backward, and in V2 the two column sums
    assert {key: len(sizes[0]) for key, sizes in compiled.items()} == {(96, 1): 5, (96, 2): 7, (384, 1): 3, (384, 2): 3}
    assert all(sizes == [sizes[0]] * 4 for sizes in compiled.values())


# The backward needs most shared memory, and an A100 has less of it
RUNS = [(80, NARROW, ('norm_mlp_backward',)), (90, [96], ('convolve', 'weight_gradient', 'norm_mlp', 'column_sums'))]


@pytest.fixture(scope='module')
def compilers(
    python: str, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[subprocess.Popen[str]]]:
    """A process for each of ``RUNS``, all at once: Triton's front end uses one core and takes 10 seconds a kernel."""
    processes = []
    for capability, widths, kernels in RUNS:
        command = [python, '-m', 'benchmarks.kernel_resources', '--json', '--widths', *map(str, widths)]
        command += ['--capabilities', str(capability), '--kernels', *kernels]
        environment = {**os.environ, 'TRITON_CACHE_DIR': str(tmp_path_factory.mktemp('triton'))}
        environment.pop('TRITON_INTERPRET', None)
        pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
        processes.append(subprocess.Popen(command, cwd=root, env=environment, **pipes))
    yield processes
    for process in processes:  # where a test failed, or was not selected
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize('run', range(len(RUNS)))
def test_kernels_compile_and_fit_into_shared_memory(run: int, compilers: list[subprocess.Popen[str]]) -> None:
    capability, widths, kernels = RUNS[run]
    printed, errors = compilers[run].communicate()
    assert compilers[run].returncode == 0, errors
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [(row['width'], row['kernel']) for row in rows] == [(width, name) for width in widths for name in kernels]
    for row in rows:
        assert row['shared_bytes'] <= SHARED_MEMORY[capability], row
