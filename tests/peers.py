"""How the tests get at the ConvNeXts of other code bases."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from torch import Tensor, nn


def torchvision_stages(model: nn.Module, x: Tensor) -> Iterator[Tensor]:
    """Outputs of the four stages of torchvision's ConvNeXt."""
    for i, module in enumerate(model.features):
        x = module(x)
        if i % 2:
            yield x


def installed(package: str) -> ModuleType:
    """The package; skips the test where it is not installed, and fails it where it does not import."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f'{package} is not installed')
    return importlib.import_module(package)


def mmpretrain_convnext(monkeypatch: pytest.MonkeyPatch) -> type[nn.Module]:
    """MMPretrain's backbone."""
    installed('mmpretrain')
    # Its language models fail to import under today's transformers; none is needed here
    monkeypatch.setitem(sys.modules, 'mmpretrain.models.multimodal', ModuleType('multimodal'))
    return importlib.import_module('mmpretrain.models.backbones.convnext').ConvNeXt
