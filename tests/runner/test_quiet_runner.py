"""Loading and resuming; training and testing a whole detector or segmentor is in tests/tools."""

import copy
import time

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS, init_default_scope

from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import CheckpointError, convert
from mmconvnext.config import processes
from mmconvnext.config.neck_and_heads import match_backbone
from mmconvnext.config.prepare import Prepared
from mmconvnext.config.resume import checkpoints_in
from mmconvnext.errors import UserError
from mmconvnext.runner import run
from mmconvnext.runner.quiet_runner import QuietRunner
from tests.conftest import ROOT, TOY


@pytest.fixture(scope='module')
def runner(tmp_path_factory):
    cfg = Config.fromfile(ROOT / 'configs/detection/mask_rcnn_convnext_t_3x.py')
    init_default_scope('mmdet')
    cfg.model.backbone.update(arch=TOY, init_cfg=None)
    match_backbone(cfg.model)
    return QuietRunner(MODELS.build(cfg.model), str(tmp_path_factory.mktemp('run')), experiment_name='toy')


@pytest.fixture
def state(runner):
    return {name: torch.randn_like(tensor) for name, tensor in runner.model.state_dict().items()}


@pytest.fixture
def next_second():
    """Puts the clock on by a second when it is called: MMEngine names the folder of a run by the second."""
    ahead, now = 0, time.time

    def advance():
        nonlocal ahead
        ahead += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, 'time', lambda: now() + ahead)
        yield advance


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
    with pytest.raises(CheckpointError, match=rf'{name}.*\(3,\).*\(81,\)'):
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
    with pytest.raises(CheckpointError, match='--pretrained'):
        runner.load_checkpoint(path)


class Malice:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def test_a_file_that_runs_code_is_refused(runner, state, path, tmp_path):
    for protocol in (True, False):
        torch.save({'state_dict': state, 'x': Malice(tmp_path / 'y')}, path, _use_new_zipfile_serialization=protocol)
        with pytest.raises(CheckpointError, match='open'):
            runner.load_checkpoint(path)
    assert not (tmp_path / 'y').exists()


# By name, since the original MMEngine cannot write down a config with classes in it
@MODELS.register_module()
class Trainee(BaseModel):
    """A backbone that learns to answer with zeros."""

    def __init__(self):
        super().__init__()
        self.backbone = ConvNeXt(arch=TOY, drop_path_rate=0.0)

    def forward(self, inputs, mode):
        return {'loss': sum(output.square().mean() for output in self.backbone(inputs))}


@DATASETS.register_module()
class Images:
    """Two images of noise."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return dict(inputs=torch.randn(3, 64, 96))


def trainer(work_dir, *, steps, checkpoint=None, by_epoch=False, lr=1e-3, keep=-1, **others):
    length = dict(max_epochs=steps // 2) if by_epoch else dict(max_iters=steps)
    loader = dict(
        batch_size=1,
        dataset=dict(type='Images'),
        sampler=dict(type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
    )
    cfg = dict(
        model=dict(type='Trainee'),
        work_dir=str(work_dir),
        experiment_name=f'{work_dir.name}-{len(list(work_dir.glob("*")))}',
        launcher='none',
        train_dataloader=loader,
        train_cfg=dict(by_epoch=by_epoch, **length),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=lr, momentum=0.9)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=by_epoch, max_keep_ckpts=keep),
        ),
        log_processor=dict(by_epoch=by_epoch, window_size=1),
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        resume=checkpoint is not None,
        load_from=checkpoint and str(checkpoint),
        **others,
    )
    return run.build_trainer(Prepared(Config(cfg)))


def drawn(monkeypatch):
    """What is drawn as curves, from now on."""
    calls = []
    monkeypatch.setattr(run.curves, 'draw_curves', lambda train, val, path: calls.append([r['step'] for r in train]))
    return calls


@pytest.mark.parametrize('by_epoch', [False, True])
def test_without_validation_training_leaves_its_curves(tmp_path, by_epoch, capsys):
    metrics = run.train(trainer(tmp_path, steps=2, by_epoch=by_epoch))
    assert metrics == {}
    printed = capsys.readouterr().out
    assert f'curves    {tmp_path / "curves.png"}' in printed
    assert 'pictures  ' not in printed
    assert (tmp_path / 'curves.png').is_file()
    assert not (tmp_path / 'pictures').exists()


@pytest.mark.parametrize('by_epoch', [False, True])
def test_resumed_training_goes_on_with_optimizer_step_and_curves(tmp_path, by_epoch, monkeypatch, next_second):
    run.train(trainer(tmp_path, steps=2, by_epoch=by_epoch))
    last = checkpoints_in(tmp_path)[0]
    momentum = torch.load(last, weights_only=True)['optimizer']['state']
    next_second()
    resumed = trainer(tmp_path, steps=4, checkpoint=last, by_epoch=by_epoch)
    seen = []
    monkeypatch.setattr(
        type(resumed.train_loop), 'run', lambda loop: seen.append((loop.iter, loop.runner.optim_wrapper.state_dict()))
    )
    resumed.train()
    ((iteration, optimizer),) = seen
    assert iteration == 2
    assert all(torch.equal(optimizer['state'][n]['momentum_buffer'], m['momentum_buffer']) for n, m in momentum.items())
    monkeypatch.undo()

    curves = drawn(monkeypatch)
    next_second()
    run.train(trainer(tmp_path, steps=4, checkpoint=last, by_epoch=by_epoch))
    assert curves == [[1, 2, 3, 4]]


@pytest.mark.parametrize('meta', [None, 'text', ['a', 'list']])
def test_meta_of_another_type_is_no_error_of_ours(tmp_path, meta):
    runner = trainer(tmp_path, steps=2)
    torch.save({'state_dict': runner.model.state_dict(), 'meta': meta}, tmp_path / 'x.pth')
    assert runner.load_checkpoint(str(tmp_path / 'x.pth'))['meta'] == {}


@pytest.mark.parametrize('by_epoch', [False, True])
def test_resuming_a_finished_training_says_so_and_keeps_its_curves(
    tmp_path, by_epoch, monkeypatch, capsys, next_second
):
    curves = drawn(monkeypatch)
    run.train(trainer(tmp_path, steps=2, by_epoch=by_epoch))
    assert 'already finished' not in capsys.readouterr().out
    next_second()
    run.train(trainer(tmp_path, steps=2, by_epoch=by_epoch, checkpoint=checkpoints_in(tmp_path)[0]))
    assert 'this training had already finished, after 2 steps' in capsys.readouterr().out
    assert curves == [[1, 2], [1, 2]]


def test_the_config_in_a_checkpoint_is_not_run(tmp_path, next_second):
    """MMEngine's ``resume`` runs ``meta.config`` as Python code."""
    run.train(trainer(tmp_path, steps=1))
    path, made = checkpoints_in(tmp_path)[0], tmp_path / 'made'
    content = torch.load(path, weights_only=True)
    content['meta']['config'] = f'open({str(made)!r}, "w")\nmodel = dict()\n'
    torch.save(content, path)
    next_second()
    resumed = trainer(tmp_path, steps=2, checkpoint=path)
    resumed.train()
    assert resumed.iter == 2
    assert not made.exists()


def test_only_a_training_of_one_s_own_is_resumed(tmp_path):
    run.train(trainer(tmp_path, steps=1))
    content = torch.load(checkpoints_in(tmp_path)[0], weights_only=True)
    path = tmp_path / 'other.pth'

    torch.save({'state_dict': content['state_dict']}, path)
    with pytest.raises(CheckpointError) as error:
        trainer(tmp_path, steps=2, checkpoint=path).train()
    assert error.value.facts['missing'] == ['meta', 'message_hub', 'optimizer']

    torch.save(content | {'meta': {'iter': 1}}, path)
    with pytest.raises(CheckpointError) as error:
        trainer(tmp_path, steps=2, checkpoint=path).train()
    assert error.value.facts['missing'] == ['meta.epoch']

    content['optimizer']['param_groups'] *= 2
    torch.save(content, path)
    with pytest.raises(CheckpointError, match='load_from='):
        trainer(tmp_path, steps=2, checkpoint=path).train()


def test_optimizer_of_wrong_settings_is_refused_as_it_is_built(tmp_path):
    with pytest.raises(ValueError, match='learning rate: -1'):
        trainer(tmp_path, steps=1, lr=-1)


@pytest.mark.parametrize('seed', [-1, 2**32, 'abc', True])
def test_seed_out_of_range(tmp_path, seed):
    with pytest.raises(UserError) as error:
        trainer(tmp_path, steps=1, randomness=dict(seed=seed))
    assert error.value.facts == dict(seed=seed)


@pytest.mark.parametrize(('launcher', 'starter'), [('pytorch', 'torchrun'), ('slurm', 'srun')])
def test_launcher_without_its_environment(launcher, starter, monkeypatch):
    for name in (*processes.LAUNCHERS['pytorch'][0], *processes.LAUNCHERS['slurm'][0]):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=starter) as error:
        run.build_runner(Prepared(Config(dict(launcher=launcher))))
    assert error.value.facts == dict(missing=list(processes.LAUNCHERS[launcher][0]))


@pytest.fixture
def of_classes(tmp_path, monkeypatch, next_second):
    """Makes a runner whose training data has classes, with a checkpoint of a training with other ones beside it."""

    def make(there, here, *, resume):
        monkeypatch.setattr(Images, 'metainfo', dict(classes=there), raising=False)
        run.train(trainer(tmp_path, steps=1))
        path = checkpoints_in(tmp_path)[0]
        monkeypatch.setattr(Images, 'metainfo', dict(classes=here))
        next_second()
        runner = trainer(tmp_path, steps=2, checkpoint=path)
        runner._resume = runner.strict = resume
        monkeypatch.setattr(type(runner.train_loop), 'run', lambda loop: None)
        said = []
        monkeypatch.setattr(runner.logger, 'warning', said.append)
        return runner, said

    return make


def test_training_of_classes_in_another_order_is_not_resumed(of_classes):
    """It went on, and named each class like another."""
    runner, _ = of_classes(('cat', 'dog', 'cow'), ('dog', 'cat', 'cow'), resume=True)
    with pytest.raises(CheckpointError) as error:
        runner.train()
    assert error.value.facts['moved'] == {'cat': (0, 1), 'dog': (1, 0)}
    assert error.value.facts['classes'] == ('cat', 'dog', 'cow')


@pytest.mark.parametrize(
    ('here', 'notes'),
    [(('cat', 'dog'), 0), (('a', 'b', 'c'), 0), (('dog', 'cat'), 1), (('cat', 'fox'), 1)],
)
def test_fine_tuning_onto_other_classes_is_one_line_at_most(of_classes, here, notes):
    runner, said = of_classes(('cat', 'dog'), here, resume=False)
    runner.train()
    assert len(said) == notes


def test_resuming_with_renamed_classes_is_noted(of_classes):
    runner, said = of_classes(('cat', 'dog'), ('cat', 'hound'), resume=True)
    runner.train()
    assert len([line for line in said if 'hound' in line]) == 1  # MMEngine says that something differs


def test_checkpoint_of_another_number_of_classes_says_both(runner, state, path, monkeypatch):
    monkeypatch.setattr(runner, '_classes', lambda: ('cat', 'dog'))
    name = 'roi_head.bbox_head.fc_cls.bias'
    torch.save({'state_dict': state | {name: torch.zeros(4)}, 'meta': {'CLASSES': ('a', 'b', 'c')}}, path)
    with pytest.raises(CheckpointError, match=name) as error:
        runner.load_checkpoint(path)
    assert error.value.facts['classes'] == ('a', 'b', 'c')


def test_without_room_for_a_checkpoint_the_last_one_stays(tmp_path, largest_file, monkeypatch, next_second):
    """MMEngine had removed it before, and left half a file under the new one's name."""
    runner = trainer(tmp_path, steps=2, keep=1)
    save = QuietRunner.save_checkpoint

    def save_one(self, out_dir, filename, *args, **kwargs):
        with largest_file(1000 if filename == 'iter_2.pth' else 10**9):
            save(self, out_dir, filename, *args, **kwargs)

    monkeypatch.setattr(QuietRunner, 'save_checkpoint', save_one)
    with pytest.raises(UserError) as error:
        runner.train()
    assert error.value.facts['path'] == tmp_path / 'iter_2.pth'
    assert [path.name for path in tmp_path.rglob('*.pth')] == ['iter_1.pth']
    assert checkpoints_in(tmp_path) == [tmp_path / 'iter_1.pth']
    torch.load(tmp_path / 'iter_1.pth', weights_only=True)

    monkeypatch.undo()
    next_second()
    trainer(tmp_path, steps=2, keep=1, checkpoint=tmp_path / 'iter_1.pth').train()
    assert [path.name for path in tmp_path.rglob('*.pth')] == ['iter_2.pth']


def test_warmup_that_does_not_end_is_said_before_training(tmp_path, capsys):
    """The learning rate never arrived, without a word."""
    trainer(tmp_path, steps=2, param_scheduler=[dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=1000)])
    assert 'param_scheduler.0.end=2' in capsys.readouterr().out
