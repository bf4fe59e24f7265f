import importlib.util
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import mmcv
import pytest
from mmengine.utils.dl_utils import mmcv_full_available

import mmconvnext.compat
from mmconvnext.compat.ext_finder import MmcvExtFinder

TRAINING_NEEDS = [
    f'{package}.{part}'
    for package in ('mmdet', 'mmseg')
    for part in ('apis', 'datasets', 'engine', 'evaluation', 'models', 'structures', 'utils', 'visualization')
]


def run(*command: str | Path, root: Path) -> str:
    """Run a command that finds mmconvnext in this checkout; return what it printed."""
    environment = {**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_those_who_ask_whether_it_exists_are_told_so(stand_in: ModuleType) -> None:
    assert importlib.util.find_spec('mmcv._ext').origin == stand_in.__file__
    assert mmcv_full_available()
    if sys.version_info < (3, 14):
        assert pkgutil.find_loader('mmcv._ext') is not None


def test_only_this_module_is_found() -> None:
    assert MmcvExtFinder.find_spec('mmcv._ext2') is None
    assert MmcvExtFinder.find_spec('_ext') is None
    with pytest.raises(ModuleNotFoundError, match=r'mmcv\._extra'):
        importlib.import_module('mmcv._extra')


def test_a_compiled_module_wins(stand_in: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / '_ext.py').touch()
    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    monkeypatch.setattr(mmcv, '__path__', [*mmcv.__path__, str(tmp_path)])
    assert importlib.util.find_spec('mmcv._ext').origin == str(tmp_path / '_ext.py')


def test_installing_again_changes_nothing() -> None:
    before = list(sys.meta_path)
    mmconvnext.compat.install()
    assert sys.meta_path == before
    assert [getattr(finder, '__name__', '') for finder in sys.meta_path].count(MmcvExtFinder.__name__) == 1


def test_installing_is_cheap(root: Path, python: str) -> None:
    script = """
import sys, types
package = types.ModuleType('mmconvnext')
package.__path__ = [sys.argv[1]]
sys.modules['mmconvnext'] = package
import mmconvnext.compat
mmconvnext.compat.install()
print({'cv2', 'mmcv', 'torchvision'} & set(sys.modules))
"""
    assert run(python, '-c', script, root / 'mmconvnext', root=root) == 'set()\n'


@pytest.mark.parametrize('module', TRAINING_NEEDS)
def test_mmdet_and_mmseg_import(module: str) -> None:
    importlib.import_module(module)


def test_a_missing_operator_exists_until_called(stand_in: ModuleType) -> None:
    assert callable(stand_in.correlation_forward)
    message = r"operator 'correlation_forward'.* has no compiled operators.* does not need it.*pip install"
    with pytest.raises(NotImplementedError, match=message):
        stand_in.correlation_forward(1, bias=2)


def test_python_s_own_names_are_not_operators(stand_in: ModuleType) -> None:
    assert not hasattr(stand_in, '__path__')


def test_the_environment_report_says_what_it_is(stand_in: ModuleType) -> None:
    from mmcv.utils import collect_env

    assert 'torchvision' in collect_env()['MMCV Compiler']
    assert 'torchvision' in collect_env()['MMCV CUDA Compiler']


@pytest.mark.slow
def test_ranks_and_workers_find_it_too(stand_in: ModuleType, root: Path, python: str, tmp_path: Path) -> None:
    script = tmp_path / 'train.py'
    script.write_text("""
import mmconvnext
import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset

class Kept(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        from mmcv.ops import nms
        return nms(torch.tensor([[0., 0, 2, 2], [0, 0, 2, 2]]), torch.tensor([.5, .9]), .5)[1]

if __name__ == '__main__':
    distributed.init_process_group('gloo')
    kept = Kept()[0]
    distributed.all_reduce(kept)
    if distributed.get_rank() == 0:
        print('ranks', kept.tolist())
        for method in ('fork', 'spawn'):
            loader = DataLoader(Kept(), num_workers=1, multiprocessing_context=method)
            print(method, next(iter(loader)).tolist())
    distributed.destroy_process_group()
""")
    printed = run(python, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2', script, root=root)
    assert printed.splitlines() == ['ranks [2]', 'fork [[1]]', 'spawn [[1]]']
