"""The kernels as GPU binaries, which Triton compiles without a GPU."""

import json
import os
import subprocess
from pathlib import Path

import pytest

# Of one block of threads, bytes
SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024}


MLP = ('norm_mlp', 'norm_mlp_backward', 'column_sums')


# The depthwise kernels take Triton's front end 10 seconds each, whatever the GPU
@pytest.mark.slow
@pytest.mark.parametrize(('capability', 'kernels'), [(80, MLP), (90, ('convolve', 'weight_gradient', *MLP))])
def test_kernels_compile_and_keep_their_sums_in_registers(
    capability: int, kernels: tuple[str, ...], python: str, root: Path, tmp_path: Path
) -> None:
    command = [python, '-m', 'benchmarks.kernel_resources', '--json', '--widths', '96']
    command += ['--capabilities', str(capability), '--kernels', *kernels]
    environment = {**os.environ, 'TRITON_CACHE_DIR': str(tmp_path)}
    environment.pop('TRITON_INTERPRET', None)
    run = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    assert [row['kernel'] for row in rows] == list(kernels)
    for row in rows:
        assert row['stack_bytes'] <= 16, row
        assert row['registers'] * row['threads'] <= 65536, row
        assert row['shared_bytes'] <= SHARED_MEMORY[capability], row
