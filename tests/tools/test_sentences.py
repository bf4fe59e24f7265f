"""What the command lines say when they cannot: exit status 2 and a sentence, in this very process to be quick."""

import runpy
import sys
from unittest.mock import Mock

import pytest
import torch
from torch import nn

from mmconvnext.config import machine

TOY = """
_base_ = {base!r}
model = dict(backbone=dict(arch=dict(_delete_=True, depths=(1, 1, 3, 1), widths=(8, 8, 16, 16))))
"""


class Malice:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, 'w')


@pytest.fixture(scope='module')
def folder(root, tmp_path_factory):
    """Where a user has configs and files that are no good."""
    folder = tmp_path_factory.mktemp('user')
    base = str(root / 'configs/detection/mask_rcnn_convnext_t_3x.py')
    (folder / 'toy.py').write_text(TOY.format(base=base))
    (folder / 'unfinished.py').write_text('model = dict(\n')
    (folder / 'nothing.py').write_text('lr = 1\n')
    (folder / 'garbage.pth').write_bytes(bytes(range(256)))
    torch.save({'state_dict': nn.Linear(2, 2).state_dict(), 'x': Malice(str(folder / 'made'))}, folder / 'malice.pth')
    return folder


@pytest.fixture
def sentence(folder, root, monkeypatch, capfd):
    """Runs a tool that has to fail, and gives back its last line."""

    def run(tool, *arguments):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, 'argv', [tool, *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(root / 'tools' / tool), run_name='__main__')
        assert ended.value.code == 2
        printed = capfd.readouterr()
        assert 'Traceback' not in printed.err
        return printed.err.splitlines()[-1]

    return run


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('toy.py', '--mini', '--data-root', 'x'), 'give one of the two'),
        (('toy.py', '--mini', '--cfg-options', 'model.backbone.arch=tinny'), 'choose from atto'),
        (('toy.py', '--mini', '--amp', 'bf16'), '--amp bf16 needs a GPU'),
        (('toy.py', '--mini', '--pretrained', 'missing.pth'), 'there is no checkpoint missing.pth'),
        (('toy.py', '--mini', '--pretrained', 'missing.pth'), '--pretrained none'),
        (('unfinished.py',), 'unfinished.py is not Python: '),
        (('nothing.py',), 'nothing.py has no model=dict(...)'),
        (('toy.py', '--mini', '--cfg-options', 'optim_wrapper.paramwise_cfg.num_layers=9'), 'num_layers=9 contradicts'),
        (('toy.py', '--mini', '--cfg-options', 'optim_wrapper.paramwise_cfg.decay_rate=2'), 'at most 1'),
        (('toy.py', '--mini', '--cfg-options', 'load_from=nowhere.pth'), 'there is no checkpoint nowhere.pth'),
        (('toy.py', '--mini', '--seed', '-1'), 'the seed is -1'),
        (('toy.py', '--mini', '--work-dir', 'garbage.pth'), 'garbage.pth cannot be made: File exists'),
        (('toy.py', '--mini', '--resume', 'garbage.pth'), 'not a .pth or .safetensors checkpoint'),
        (('toy.py', '--mini', '--resume', 'malice.pth'), 'Such a file can run any code'),
        (('toy.py', '--mini', '--resume', 'malice.pth', '--pretrained', 'x.pth'), 'give one of the two'),
    ],
)
def test_training(sentence, folder, arguments, words):
    assert words in sentence('train.py', *arguments)
    assert not (folder / 'made').exists()


@pytest.mark.parametrize(
    ('setting', 'words'),
    [
        ('optim_wrapper.optimizer.lr=abc', "lr='abc' must be a number"),
        ('optim_wrapper.optimizer.type=Foo', "optim_wrapper.optimizer.type is 'Foo', and no optimizer"),
        ('optim_wrapper.optimizer.foo=3', 'optim_wrapper.optimizer.foo: AdamW has no such argument'),
        ('optim_wrapper.paramwise_cfg=3', 'the optimizer: TypeError: paramwise_cfg should be None or a dict'),
        ('randomness.seed=abc', "the seed is 'abc'"),
        ('train_dataloader=3', 'train_dataloader is 3; it must be a dictionary'),
        ('train_dataloader.dataset=3', 'train_dataloader.dataset is 3; it must be a dictionary'),
        ('train_dataloader.num_workers=abc', "train_dataloader.num_workers is 'abc'"),
        ('model.type=MaskRCNNN', 'KeyError: MaskRCNNN is not in the mmdet::model registry'),
        ('model.neck.in_channels=5', 'AssertionError: assert isinstance(in_channels, list) in fpn.py'),
        ('model.neck=3', 'model.neck is 3; it must be a dictionary'),
        ('custom_hooks=3', 'custom_hooks is 3; it must be a list'),
        ('param_scheduler=3', 'param_scheduler is 3; it must be a dictionary, or a list of them'),
        ('train_dataloader.sampler.foo=3', 'train_dataloader.sampler.foo: DefaultSampler has no such argument'),
        ('val_evaluator.metric=foo', 'KeyError: metric should be one of'),
        ('val_evaluator.foo=3', 'val_evaluator.foo: CocoMetric has no such argument'),
        ('env_cfg=3', 'env_cfg is 3; it must be a dictionary'),
        ('model.backbone.arch=dict(depths=(1,1),widths=(1,1))', 'A dictionary is written'),
        ("model.backbone.arch={'depths':(1,1)}", 'one positive integer'),
    ],
)
def test_setting_that_the_config_cannot_be_built_with(sentence, setting, words):
    assert words in sentence('train.py', 'toy.py', '--mini', '--cfg-options', setting)


@pytest.mark.parametrize(
    ('checkpoint', 'words'),
    [
        ('toy.py', 'not a .pth or .safetensors checkpoint'),
        ('malice.pth', 'Such a file can run any code'),
        ('nowhere.pth', 'there is no checkpoint nowhere.pth'),
    ],
)
def test_testing(sentence, folder, checkpoint, words):
    assert words in sentence('test.py', 'toy.py', checkpoint, '--mini')
    assert not (folder / 'made').exists()


@pytest.mark.parametrize(('tool', 'rest'), [('train.py', ()), ('test.py', ('x.pth',))])
@pytest.mark.parametrize('error', [TypeError('a bug'), KeyError('a bug'), ValueError('a bug')])
def test_a_bug_of_ours_keeps_its_traceback(folder, root, monkeypatch, tool, rest, error):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, 'argv', [tool, 'toy.py', *rest, '--mini'])
    monkeypatch.setattr(machine, 'usable_cores', Mock(side_effect=error))
    with pytest.raises(type(error), match='a bug'):
        runpy.run_path(str(root / 'tools' / tool), run_name='__main__')


def test_launcher_without_torchrun(sentence, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    said = sentence('train.py', 'toy.py', '--mini', '--launcher', 'pytorch')
    assert '--launcher pytorch: RANK' in said
    assert 'tools/dist_train.sh' in said
