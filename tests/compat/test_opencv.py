import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

import pytest

from mmconvnext.compat import opencv


class NoDesktop(MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if fullname == 'cv2':
            raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')
        return None


def test_a_missing_library_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, 'cv2', raising=False)
    monkeypatch.setattr(sys, 'meta_path', [NoDesktop(), *sys.meta_path])
    with pytest.raises(ImportError, match=r'libGL\.so\.1.*pip install .*opencv-python-headless==\d'):
        opencv.check()


def test_a_cv2_of_the_linux_distribution_has_no_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, 'cv2', raising=False)
    monkeypatch.setattr(sys, 'meta_path', [NoDesktop(), *sys.meta_path])
    monkeypatch.setattr(opencv, 'packages_distributions', dict)
    with pytest.raises(ImportError, match=r'libGL\.so\.1.*--no-deps opencv-python-headless`'):
        opencv.check()


def test_nothing_is_said_where_it_imports() -> None:
    opencv.check()
