from importlib.util import find_spec
from types import ModuleType

import pytest

import mmconvnext.compat


@pytest.fixture
def stand_in() -> ModuleType:
    """The module that mmcv's operators call, where it is the one under test."""
    mmconvnext.compat.install()
    import mmcv._ext

    spec = find_spec('mmcv._ext')
    if spec is None or not str(spec.origin).endswith('mmcv_ext.py'):
        pytest.skip('mmcv has its compiled operators here')
    return mmcv._ext
