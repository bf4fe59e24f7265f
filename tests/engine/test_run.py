"""The runner's way of loading a checkpoint; training and testing as a whole are in tests/tools."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmconvnext.checkpoints import CheckpointError, convert
from mmconvnext.engine.config import follow_backbone
from mmconvnext.engine.run import QuietRunner
from tests.conftest import ROOT, TOY


@pytest.fixture(scope='module')
def runner(tmp_path_factory):
    cfg = Config.fromfile(ROOT / 'configs/detection/mask_rcnn_convnext_t_3x.py')
    init_default_scope('mmdet')
    cfg.model.backbone.update(arch=TOY, init_cfg=None)
    follow_backbone(cfg.model)
    return QuietRunner(MODELS.build(cfg.model), str(tmp_path_factory.mktemp('run')), experiment_name='toy')


@pytest.fixture
def state(runner):
    return {name: torch.randn_like(tensor) for name, tensor in runner.model.state_dict().items()}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'file.pth')


def test_loads_a_training_of_its_own_with_what_is_beside_the_weights(runner, state, path):
    torch.save({'state_dict': state, 'meta': {'epoch': 3}, 'optimizer': {'param_groups': []}}, path)
    content = runner.load_checkpoint(path, map_location='cpu')
    assert (content['meta'], content['optimizer']) == ({'epoch': 3}, {'param_groups': []})
    assert all(torch.equal(tensor, state[name]) for name, tensor in runner.model.state_dict().items())


def test_hooks_see_the_names_of_the_model(runner, state, path, monkeypatch):
    seen = {}
    monkeypatch.setattr(runner, 'call_hook', lambda point, checkpoint: seen.update(checkpoint['state_dict']))
    torch.save({'state_dict': {f'module.{name}': tensor for name, tensor in state.items()}}, path)
    runner.load_checkpoint(path)
    assert seen.keys() == state.keys()


def test_heads_of_other_classes_only_where_a_training_starts(runner, state, path):
    before = copy.deepcopy(runner.model.state_dict())
    name = 'roi_head.bbox_head.fc_cls.bias'
    torch.save({'state_dict': state | {name: torch.zeros(3)}}, path)
    with pytest.raises(CheckpointError, match=rf'{name} is \(3,\) there and \(81,\) here'):
        runner.load_checkpoint(path)
    assert all(torch.equal(tensor, before[n]) for n, tensor in runner.model.state_dict().items())
    runner.strict = False
    runner.load_checkpoint(path)
    runner.strict = True
    assert torch.equal(runner.model.state_dict()[name], before[name])
    assert torch.equal(runner.model.neck.fpn_convs[0].conv.bias, state['neck.fpn_convs.0.conv.bias'])


def test_backbone_alone_is_refused(runner, state, path):
    backbone = {n.removeprefix('backbone.'): t for n, t in state.items() if n.startswith('backbone.')}
    torch.save(convert(backbone, 'timm').state, path)
    with pytest.raises(CheckpointError, match=r'is timm V1 .* alone.*tools/train.py --pretrained'):
        runner.load_checkpoint(path)
