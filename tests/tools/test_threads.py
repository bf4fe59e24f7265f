"""Threads that wait must sleep: beside one busy process on two cores, a training by hand took 32 s a step, not 8."""

import os
import subprocess

import pytest

SHOW = """
import os, runpy, sys
seen = []
def note(event, arguments):
    if event == 'import' and arguments[0] == 'torch':
        seen.append(os.environ.get('OMP_WAIT_POLICY'))
sys.addaudithook(note)
sys.argv = ['tool', '--help']
try:
    runpy.run_path({path!r}, run_name='__main__')
except SystemExit:
    print(seen[0])
"""


@pytest.mark.parametrize(('tool', 'own'), [('train.py', None), ('test.py', None), ('test.py', 'ACTIVE')])
def test_the_policy_is_there_when_pytorch_is_imported_unless_the_user_has_another(root, python, tool, own):
    environment = {name: value for name, value in os.environ.items() if name != 'OMP_WAIT_POLICY'}
    environment |= {} if own is None else {'OMP_WAIT_POLICY': own}
    code = SHOW.format(path=str(root / 'tools' / tool))
    run = subprocess.run(
        [python, '-c', code], capture_output=True, text=True, env=environment | {'PYTHONPATH': str(root)}, timeout=120
    )
    assert run.stdout.splitlines()[-1] == (own or 'PASSIVE'), run.stderr
