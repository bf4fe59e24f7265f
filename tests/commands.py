"""Runs the tools in processes that are forked from one which has imported all: imports take longer than most runs."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Reads a job a line, and answers with the exit status of the command, in a line
SERVER = """
import json, os, runpy, signal, sys, traceback
import mmconvnext.classification, mmconvnext.pretraining, mmconvnext.semi.registered
import mmconvnext.cli.convert_checkpoint, mmconvnext.cli.evaluate, mmconvnext.cli.pretrain, mmconvnext.cli.test
import mmdet.datasets, mmdet.engine, mmdet.evaluation, mmdet.models, mmdet.visualization
import mmseg.datasets, mmseg.engine, mmseg.evaluation, mmseg.models, mmseg.visualization
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.alarm(job['timeout'])
        log = os.open(job['log'], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0), os.dup2(log, 1), os.dup2(log, 2)
        os.chdir(job['cwd'])
        os.environ.update(job['env'])
        sys.argv = job['argv']
        status = 0
        try:
            runpy.run_path(sys.argv[0], run_name='__main__')
        except SystemExit as ended:
            status = ended.code or 0
            if isinstance(status, str):
                print(status, file=sys.stderr)
                status = 1
        except BaseException:  # as the interpreter: print it and exit, or the child would read the next job
            traceback.print_exc()
            status = 1
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    print('status', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Commands:
    """A process that runs commands of Python one after the other, each in a process of its own."""

    def __init__(self) -> None:
        env = os.environ | {'OMP_NUM_THREADS': '2', 'OMP_WAIT_POLICY': 'PASSIVE'}
        self._server = subprocess.Popen(
            [sys.executable, '-c', SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
        )

    def run(
        self, argv: Sequence[str | Path], *, cwd: Path, log: Path, env: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Runs a script.

        Args:
            argv: The script and its arguments.
            cwd: Where it runs.
            log: A file for what it prints.
            env: Variables to set for it alone.

        Returns:
            Its exit status, and what it printed to both streams.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        job = dict(argv=[str(word) for word in argv], cwd=str(cwd), log=str(log), env=dict(env or {}), timeout=500)
        self._server.stdin.write(json.dumps(job) + '\n')
        self._server.stdin.flush()
        for line in self._server.stdout:  # what imports print comes first
            if line.startswith('status '):
                return int(line.split()[1]), log.read_text(encoding='utf-8', errors='replace')
        raise RuntimeError(f'the process that runs commands ended with status {self._server.wait()}')

    def close(self) -> None:
        """Ends the process."""
        self._server.communicate()
