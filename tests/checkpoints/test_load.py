import copy
import re
from urllib.error import URLError

import pytest
import torch
from mmengine.registry import MODELS

from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import CheckpointError, load_pretrained


def official(backbone):
    """What the authors' file of this backbone holds: no output norms, a classifier, GRN as (1, 1, 1, 4C)."""
    state = {n: torch.randn_like(t) for n, t in backbone.state_dict().items() if not n.startswith('norm')}
    state = {n: t[None, None, None] if '.grn.' in n else t for n, t in state.items()}
    width = backbone.out_channels[-1]
    state |= {'norm.weight': torch.randn(width), 'norm.bias': torch.randn(width)}
    return state | {'head.weight': torch.randn(10, width), 'head.bias': torch.randn(10)}


@pytest.fixture
def backbone(toy):
    return ConvNeXt(toy, version=2)


def save(content, path):
    torch.save(content, path)
    return str(path)


@pytest.mark.parametrize('wrap', [lambda s: s, lambda s: {'model': s}, lambda s: {'state_dict': s, 'meta': {}}])
def test_official_file_fills_all_but_the_output_norms(backbone, tmp_path, wrap, capsys):
    state = official(backbone)
    before = copy.deepcopy(backbone.state_dict())
    load_pretrained(backbone, save(wrap(state), tmp_path / 'official.pth'))
    for name, tensor in backbone.state_dict().items():
        expected = before[name] if name.startswith('norm') else state[name].flatten() if 'grn' in name else state[name]
        assert torch.equal(tensor, expected), name


def test_detector_file_fills_the_norms_too(backbone, tmp_path):
    state = {f'backbone.{n}': torch.randn_like(t) for n, t in backbone.state_dict().items()}
    load_pretrained(backbone, save({'state_dict': state | {'neck.x': torch.ones(1)}}, tmp_path / 'detector.pth'))
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, state[f'backbone.{name}'])


def test_stages_that_are_not_built_are_left_out(toy, tmp_path):
    path = save(official(ConvNeXt(toy)), tmp_path / 'official.pth')
    load_pretrained(ConvNeXt(toy, out_indices=(0, 1)), path)


def test_init_cfg_loads_and_a_second_init_does_no_harm(toy, tmp_path):
    state = official(ConvNeXt(toy))
    path = save(state, tmp_path / 'official.pth')
    model = MODELS.build(dict(type='ConvNeXt', arch=toy, init_cfg=dict(type='ConvNeXtPretrained', checkpoint=path)))
    for _ in range(2):
        model.init_weights()
        assert torch.equal(model.stages[2][1].gamma, state['stages.2.1.gamma'])


@pytest.mark.parametrize(
    ('damage', 'words'),
    [
        (lambda s: s.pop('stages.1.0.dwconv.weight'), '1 tensors (stages.1.0.dwconv.weight) missing'),
        (lambda s: s.update({'stages.1.7.gamma': torch.ones(1)}), '1 tensors (stages.1.7.gamma) left over'),
        (lambda s: s.update({'stages.0.0.norm.weight': torch.ones(5)}), 'is (5,) there and (4,) here'),
    ],
)
def test_misfit_is_named_and_changes_nothing(backbone, tmp_path, damage, words):
    state = official(backbone)
    damage(state)
    before = copy.deepcopy(backbone.state_dict())
    with pytest.raises(CheckpointError, match=re.escape(words)):
        load_pretrained(backbone, save(state, tmp_path / 'damaged.pth'))
    assert all(torch.equal(t, before[n]) for n, t in backbone.state_dict().items())


def test_missing_file_and_unreachable_address_say_both_ways_on(backbone, tmp_path, monkeypatch):
    def unreachable(url, path):
        raise URLError('no route to host')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', unreachable)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    for checkpoint in (str(tmp_path / 'none.pth'), 'https://example.invalid/convnext.pth'):
        with pytest.raises(CheckpointError, match=r'--pretrained PATH.*--pretrained none'):
            load_pretrained(backbone, checkpoint)


def test_file_in_the_cache_needs_no_network(toy, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', None)
    (tmp_path / 'hub/checkpoints').mkdir(parents=True)
    save(official(ConvNeXt(toy)), tmp_path / 'hub/checkpoints/convnext.pth')
    load_pretrained(ConvNeXt(toy), 'https://example.invalid/convnext.pth')


def test_files_that_are_no_checkpoints(backbone, tmp_path):
    page = tmp_path / 'page.pth'
    page.write_text('<html>404</html>')
    with pytest.raises(CheckpointError, match='not a checkpoint that can be read safely'):
        load_pretrained(backbone, str(page))
    with pytest.raises(CheckpointError, match='no dictionary of tensors'):
        load_pretrained(backbone, save([1, 2], tmp_path / 'list.pth'))
