"""The wheel that the source distribution builds, installed beside nothing else of this package."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

FIND = """
from pathlib import Path
import mmconvnext
from mmengine.hub import get_config
from mmengine.utils import get_installed_path

print(Path(mmconvnext.__file__).parent)
print(get_installed_path('mmconvnext'))
print(get_config('mmconvnext::segmentation/upernet_convnext_t_160k.py').model.decode_head.type)
"""


CARRIED = ('mmconvnext', 'configs', 'tools')
BESIDE = ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'constraints.txt', 'model-index.yml')


def files_under(folder: Path) -> set[Path]:
    files = {path.relative_to(folder) for path in folder.rglob('*') if path.is_file()}
    return {path for path in files if not {'__pycache__', '.mim'} & set(path.parts)}


@pytest.mark.slow
def test_wheel_carries_configs_and_tools_where_mim_looks(root, python, tmp_path):
    def run(*arguments: object, folder: Path, **environment: str) -> str:
        command = [python, *map(str, arguments)]
        done = subprocess.run(
            command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    source, installed = tmp_path / 'source', tmp_path / 'installed'  # a copy, since a build leaves folders behind
    for name in CARRIED:
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns('__pycache__', '.mim'))
    for name in BESIDE:
        shutil.copy2(root / name, source)

    run('-c', f'import setuptools.build_meta as backend; backend.build_sdist({str(tmp_path)!r})', folder=source)
    (sdist,) = tmp_path.glob('mmconvnext-*.tar.gz')
    pip = ('-m', 'pip', '--disable-pip-version-check')
    offline = ('--no-deps', '--no-index')
    run(*pip, 'wheel', sdist, *offline, '--no-build-isolation', '--wheel-dir', tmp_path, folder=tmp_path)
    (wheel,) = tmp_path.glob('mmconvnext-*.whl')
    run(*pip, 'install', wheel, *offline, '--target', installed, folder=tmp_path)

    package = installed / 'mmconvnext'
    assert files_under(package) == files_under(root / 'mmconvnext')
    for name in ('configs', 'tools'):
        assert files_under(package / '.mim' / name) == files_under(root / name)
    assert (package / '.mim' / 'model-index.yml').read_bytes() == (root / 'model-index.yml').read_bytes()
    found = run('-c', FIND, folder=tmp_path, PYTHONPATH=str(installed)).splitlines()
    assert found == [str(package), str(package), 'UPerHead']
