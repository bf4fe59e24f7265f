import os
import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.skipif(shutil.which('make') is None, reason='there is no make here')


@pytest.fixture
def make(root):
    # Where make itself runs the tests, its variables would reach the one started here
    environment = {name: value for name, value in os.environ.items() if name not in ('MAKEFLAGS', 'MAKELEVEL', 'STACK')}

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(['make', *arguments], cwd=root, env=environment, capture_output=True, text=True)

    return run


def test_make_alone_lists_every_target_and_does_nothing_else(root, make):
    run = make()
    assert (run.returncode, run.stderr) == (0, '')
    phony = re.search(r'^\.PHONY: (.*)$', (root / 'Makefile').read_text(), re.M)[1].split()
    listed = [line.split()[1] for line in run.stdout.splitlines()[1:]]
    assert listed == [target for target in phony if target != 'help']
    assert make('help').stdout == run.stdout


@pytest.mark.parametrize('stack', ['typo', '', 'onedl openmmlab'])
def test_a_mistyped_stack_is_refused(make, stack):
    run = make('--dry-run', 'test', f'STACK={stack}')
    assert run.returncode != 0
    assert f'STACK={stack} must be onedl' in run.stderr
    assert 'venv' not in run.stdout


@pytest.mark.parametrize(('stack', 'venv'), [('onedl', '.venv/bin'), ('openmmlab', '.venv-openmmlab/bin')])
def test_each_stack_has_a_folder_of_its_own(make, stack, venv):
    run = make('--dry-run', 'test', f'STACK={stack}')
    assert run.returncode == 0, run.stderr
    assert f'{venv}/python -m pytest' in run.stdout
