"""The kernels as GPU binaries, which Triton compiles without a GPU."""

import json
import os
import subprocess
from pathlib import Path

import pytest

# Of one block of threads, bytes
SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024}


@pytest.mark.slow
def test_kernels_compile_for_gpus_without_spilling_registers(python: str, root: Path, tmp_path: Path) -> None:
    command = [python, '-m', 'benchmarks.kernel_resources', '--json', '--widths', '96']
    environment = {**os.environ, 'TRITON_CACHE_DIR': str(tmp_path)}
    environment.pop('TRITON_INTERPRET', None)
    run = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(rows) == 12
    for row in rows:
        assert row['stack_bytes'] == 0, row
        assert row['registers'] * row['threads'] <= 65536, row
        assert row['shared_bytes'] <= SHARED_MEMORY[row['capability']], row
