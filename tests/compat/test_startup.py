"""The stand-in in every process, and in modules that were imported before it."""

import os
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

import mmconvnext
from mmconvnext.compat import startup
from mmconvnext.errors import UserError


def run(python: str, code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Runs code in a process whose start finds the .pth file of a folder, as it would in site-packages."""
    (folder / 'sitecustomize.py').write_text(f'import site\nsite.addsitedir({str(folder)!r})\n')
    path = os.pathsep.join([str(folder), str(Path(mmconvnext.__file__).parents[1])])
    return subprocess.run(
        [python, '-c', textwrap.dedent(code)],
        env=os.environ | {'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_start_imports_nothing_more(python: str, tmp_path: Path) -> None:
    """Neither PyTorch nor mmcv, nor anything else that a bare start does not."""
    show = "import sys; print(sorted(m for m in sys.modules if m != 'sitecustomize'))"
    before = run(python, show, tmp_path).stdout
    startup.install(tmp_path)
    after = run(python, show + '; print([f.__name__ for f in sys.meta_path[-1:]])', tmp_path).stdout
    assert after == before + "['MmcvExtFinder']\n"
    assert len(startup.pth_file(tmp_path).read_text().splitlines()) == 1


@pytest.mark.slow
def test_mmdetections_apis_run_where_nobody_imported_this_package(python: str, tmp_path: Path) -> None:
    code = """
        import sys
        from mmdet.apis import init_detector, inference_detector  # imports mmcv.ops
        import torch
        from mmcv.ops import nms
        kept = nms(torch.tensor([[0., 0, 2, 2], [0, 0, 2, 2]]), torch.tensor([.5, .9]), .5)[1]
        print(kept.tolist(), sys.modules['mmcv._ext'].__file__.endswith('mmcv_ext.py'))
    """
    startup.install(tmp_path)
    done = run(python, code, tmp_path)
    assert done.stdout.splitlines()[-1] == '[1] True', done.stderr
    assert startup.remove(tmp_path)
    assert not startup.remove(tmp_path)
    assert "No module named 'mmcv._ext'" in run(python, code, tmp_path).stderr


def test_a_package_that_is_gone_breaks_nothing(python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / 'compat/ext_finder.py'
    copy.parent.mkdir()
    shutil.copy(startup.ext_finder.__file__, copy)
    monkeypatch.setattr(startup.ext_finder, '__file__', str(copy))
    show = 'import sys; print([getattr(f, "__name__", "") for f in sys.meta_path])'
    before = run(python, show, tmp_path).stdout
    startup.install(tmp_path)
    assert 'MmcvExtFinder' in run(python, show, tmp_path).stdout
    shutil.rmtree(copy.parent)
    done = run(python, show, tmp_path)
    assert (done.stdout, done.stderr) == (before, '')


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='Not a directory'):
        startup.install(tmp_path / 'file')


@pytest.mark.slow
def test_modules_that_were_imported_before_get_the_operators(python: str, tmp_path: Path) -> None:
    """onedl-mmdetection puts functions that raise in their place, which stayed for the whole process.

    The original mmdet raises at once, and has to be importable after that.
    """
    code = """
        import importlib
        for name in ('structures', 'evaluation', 'utils'):
            try:
                importlib.import_module(f'mmdet.{name}')
            except ModuleNotFoundError as error:
                assert error.name == 'mmcv._ext'
        import mmconvnext
        import numpy as np, torch
        from mmdet.structures.mask import BitmapMasks
        masks = np.zeros((1, 16, 16), np.uint8)
        masks[0, 4:12, 4:8] = 1
        boxes = np.array([[0, 0, 16, 16.]], np.float32)
        cut = BitmapMasks(masks, 16, 16).crop_and_resize(boxes, (8, 8), torch.tensor([0]))
        print(cut.masks[0].sum(), cut.masks[0, 2:6, 2:4].sum())
        import mmdet.models
        mmconvnext.compat.install()
        print(mmconvnext.compat.mend_placeholders())
    """
    done = run(python, code, tmp_path)
    assert done.stdout.splitlines()[-2:] == ['8 8', '[]'], done.stderr
