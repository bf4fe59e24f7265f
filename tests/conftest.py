"""What the tests share: toy sizes that build and run in milliseconds."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

import mmconvnext  # registers the package, and lets mmcv import without compiled operators
from mmconvnext.kernels.dispatch import CAPABILITIES, HAS_TRITON
from tests.commands import Commands

HAS_GPU = torch.cuda.is_available() and torch.cuda.get_device_capability() in CAPABILITIES

# Triton decides when a function is defined whether it will be interpreted, so the kernels and Triton's own functions
# are imported in that state, before other packages import Triton
if HAS_TRITON and not HAS_GPU:
    os.environ['TRITON_INTERPRET'] = '1'
    import mmconvnext.kernels.triton.launches  # noqa: F401  for what importing it defines

    del os.environ['TRITON_INTERPRET']

ROOT = Path(__file__).parent.parent
TOY = dict(depths=(1, 2, 4, 1), widths=(4, 8, 12, 16))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The commands' tests train for minutes: they come first, so that the other process does all else meanwhile."""
    items.sort(key=lambda item: 'tools' not in item.path.relative_to(ROOT).parts)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _default_scope() -> Iterator[None]:
    """No test finds the default scope that another one has set."""
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture
def toy() -> dict:
    """A size whose stage 3 is deep enough to span two learning-rate layers."""
    return dict(TOY)


@pytest.fixture(scope='session')
def commands() -> Iterator[Commands]:
    """Runs the tools without importing all for each anew."""
    started = Commands()
    yield started
    started.close()


@pytest.fixture(scope='session')
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def largest_file():
    """A context in which the system refuses to write a file beyond a number of bytes, as on a full disk."""
    resource = pytest.importorskip('resource', reason='Windows has no limit on the size of files')

    @contextmanager
    def limit(bytes_of_file):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_of_file, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit


@pytest.fixture(scope='session')
def python() -> str:
    """The interpreter that runs the tests, for those that need a process of their own."""
    return sys.executable
