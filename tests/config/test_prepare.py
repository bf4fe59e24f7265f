"""From a request to the config that runs: what wins over what, and what cannot be had."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmconvnext.config import mini_recipe
from mmconvnext.config.prepare import prepare, prepare_test, prepare_training
from mmconvnext.datasets.checks import CheckedData
from mmconvnext.errors import UserError


@pytest.fixture(autouse=True)
def _somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.setattr(mini_recipe, 'TRAIN_IMAGES', 8)
    monkeypatch.setattr(mini_recipe, 'VAL_IMAGES', 4)


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save({'state_dict': {}}, path)
    return str(path)


def left_behind(run):
    """The config that a run leaves in its work directory, as read again."""
    path = Path(run.cfg.work_dir, Path(run.cfg.filename).name)
    path.parent.mkdir(parents=True, exist_ok=True)
    run.cfg.dump(path)
    return str(path)


def test_mini_and_a_data_root_contradict_each_other(detector):
    with pytest.raises(UserError, match='--data-root'):
        prepare(detector, use_mini=True, data_root='data/coco')


def test_options_win_over_the_mini_recipe_and_the_data_root(detector):
    options = {
        'train_cfg.max_epochs': 3,
        'train_cfg.val_interval': 3,
        'train_dataloader.batch_size': 1,
        'optim_wrapper.optimizer.lr': 0.5,
        'model.backbone.arch': 'base',
        'model.backbone.drop_path_rate': 0.3,
        'model.backbone.init_cfg.checkpoint': 'own.pth',
    }
    run = prepare(detector, use_mini=True, cfg_options=options)
    assert (run.cfg.train_cfg.max_epochs, run.cfg.train_cfg.val_interval, run.cfg.train_dataloader.batch_size) == (
        3,
        3,
        1,
    )
    assert run.cfg.optim_wrapper.optimizer.lr == 0.5
    assert (run.cfg.param_scheduler[1].end, run.cfg.param_scheduler[1].milestones) == (24, [18, 22])
    assert run.cfg.model.backbone.init_cfg == dict(type='ConvNeXtPretrained', checkpoint='own.pth')
    assert (run.cfg.model.backbone.drop_path_rate, run.cfg.model.neck.in_channels) == (0.3, [128, 256, 512, 1024])
    run = prepare(detector, data_root='given', cfg_options={'val_dataloader.dataset.data_root': 'asked'})
    assert (run.cfg.train_dataloader.dataset.data_root, run.cfg.val_dataloader.dataset.data_root) == ('given', 'asked')


def test_mini_starts_from_random_weights_whatever_the_size(detector):
    run = prepare(detector, use_mini=True, cfg_options={'model.backbone.arch': 'nano', 'model.backbone.version': 2})
    assert run.cfg.model.backbone.init_cfg is None
    prepare_training(run)


def test_work_dir_is_named_after_the_config(detector, tmp_path):
    assert prepare(detector).cfg.work_dir == 'work_dirs/mask_rcnn_convnext_t_3x'
    assert prepare(detector, use_mini=True).cfg.work_dir == 'work_dirs/mask_rcnn_convnext_t_3x_mini'
    assert prepare(detector, cfg_options={'work_dir': 'own'}).cfg.work_dir == 'own'
    assert prepare(detector, work_dir='given', cfg_options={'work_dir': 'own'}).cfg.work_dir == 'given'


def test_home_folder_is_expanded(detector, tmp_path):
    run = prepare(detector, data_root='~/coco', work_dir='~/runs/1')
    assert run.cfg.work_dir == str(tmp_path / 'home/runs/1')
    assert run.cfg.train_dataloader.dataset.data_root == run.cfg.data_root == str(tmp_path / 'home/coco')
    assert run.cfg.val_evaluator.ann_file == str(tmp_path / 'home/coco/annotations/instances_val2017.json')


def test_seed_is_kept_beside_other_randomness(detector):
    assert 'randomness' not in prepare(detector).cfg
    options = {'randomness.deterministic': True, 'randomness.seed': 1}
    assert prepare(detector, cfg_options=options).cfg.randomness == dict(deterministic=True, seed=1)
    assert prepare(detector, cfg_options=options, seed=0).cfg.randomness == dict(deterministic=True, seed=0)


@pytest.mark.parametrize('again', [False, True], ids=['without --mini', 'with --mini'])
@pytest.mark.parametrize('name', ['detector', 'segmentor'])
def test_config_left_behind_by_a_mini_training_is_prepared_to_the_same(name, again, request):
    run = prepare(request.getfixturevalue(name), use_mini=True, seed=3)
    second = prepare(left_behind(run), use_mini=again)
    assert second.notes == []  # it was adapted to this machine before
    assert second.cfg.to_dict() == run.cfg.to_dict()
    third = prepare(left_behind(run), use_mini=again, cfg_options={'model.backbone.arch': 'atto'})
    assert third.cfg.train_cfg == run.cfg.train_cfg


def test_hooks_of_a_run_are_not_in_the_config_it_leaves_behind(detector, checkpoint):
    run = prepare(detector, use_mini=True)
    prepare_test(run, checkpoint, show_dir='pictures')
    assert [hook['type'] for hook in run.hooks] == ['ProgressBarHook', 'ResultPicturesHook']
    assert 'custom_hooks' not in run.cfg
    assert [hook['type'] for hook in prepare(left_behind(run)).hooks] == ['ProgressBarHook']


def test_training_refuses_weights_of_another_size_unless_given_others(detector, checkpoint, monkeypatch):
    monkeypatch.setattr('mmconvnext.config.prepare.check_data', lambda *args: CheckedData())

    def configured(**options):
        run = prepare(detector, cfg_options={'model.backbone.arch': 'xlarge'})
        prepare_training(run, **options)
        return run.cfg.model.backbone.init_cfg

    with pytest.raises(UserError) as error:
        configured()
    assert 'convnext_xlarge.in22k' in error.value.facts['fitting']
    assert configured(pretrained='own.pth').checkpoint == 'own.pth'
    assert configured(pretrained='none') is None
    assert configured(resume=checkpoint) is None
    # A test loads the whole model
    prepare_test(prepare(detector, cfg_options={'model.backbone.arch': 'xlarge'}), checkpoint)


def test_config_without_validation_or_a_base_batch_size(detector, monkeypatch):
    checked = []

    def check(cfg, loaders, segmentation):
        checked.extend(loaders)
        return CheckedData()

    monkeypatch.setattr('mmconvnext.config.prepare.check_data', check)
    run = prepare(detector, cfg_options=dict(val_dataloader=None, val_cfg=None, val_evaluator=None, auto_scale_lr=None))
    prepare_training(run)
    assert checked == ['train_dataloader']
    with pytest.raises(UserError, match='base_batch_size'):
        prepare_training(run, auto_scale_lr=True)


def test_config_without_test_data_is_a_sentence(detector, checkpoint):
    run = prepare(detector, cfg_options=dict(test_dataloader=None, test_cfg=None, test_evaluator=None))
    with pytest.raises(UserError, match='test_dataloader'):
        prepare_test(run, checkpoint)


def test_config_of_one_s_own_is_prepared(tmp_path):
    path = tmp_path / 'own.py'
    path.write_text("model = dict(backbone=dict(type='ConvNeXt', arch='atto'))\ndefault_scope = 'mmdet'\n")
    run = prepare(str(path))
    assert isinstance(run.cfg, Config)
    with pytest.raises(UserError) as error:
        prepare(str(path), use_mini=True)
    assert error.value.facts == dict(key='model.type')
