from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

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


def random_rois(rng: np.random.Generator, count: int, batch: int, height: float, width: float) -> Tensor:
    """(count, 5) in double precision: on images of that size, over their edges, and outside."""
    x, y = rng.uniform(-0.4, 1.4, (2, count, 2)) * np.array([width, height])[:, None, None]
    x.sort(), y.sort()
    return torch.from_numpy(np.stack([rng.integers(0, batch, count), x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1))
