"""A toy network with a classifier, and files of it."""

import copy

import pytest
import torch

from mmconvnext.backbones import ConvNeXt


def whole_network(toy, version):
    """Tensors of a classifier under this package's names, no two alike: no output norms, but a norm before its head."""
    with torch.device('meta'):
        shapes = {name: t.shape for name, t in ConvNeXt(toy, version=version).state_dict().items()}
    state = {name: torch.randn(shape) for name, shape in shapes.items() if not name.startswith('norm')}
    width = toy['widths'][-1]
    state |= {'norm.weight': torch.randn(width), 'norm.bias': torch.randn(width)}
    return state | {'head.weight': torch.randn(5, width), 'head.bias': torch.randn(5)}


@pytest.fixture(params=[1, 2], ids=['V1', 'V2'])
def version(request):
    return request.param


@pytest.fixture
def network(toy, version):
    return whole_network(toy, version)


@pytest.fixture
def backbone(toy, version):
    """A backbone that remembers what it was."""
    model = ConvNeXt(toy, version=version)
    model.before = copy.deepcopy(model.state_dict())
    return model


@pytest.fixture
def save(tmp_path):
    """Writes a file as torch.save does, and gives its path."""

    def write(content, name='file.pth'):
        torch.save(content, tmp_path / name)
        return str(tmp_path / name)

    return write
