"""From a request to the config that runs: what wins over what, and what cannot be had."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmconvnext.datasets.checks import CheckedData
from mmconvnext.engine import scale_down
from mmconvnext.engine.prepare import configure_test, configure_training, prepare


@pytest.fixture(autouse=True)
def _somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.setattr(scale_down, 'TRAIN_IMAGES', 8)
    monkeypatch.setattr(scale_down, 'VAL_IMAGES', 4)


@pytest.fixture
def detector(root):
    return str(root / 'configs/detection/mask_rcnn_convnext_t_3x.py')


@pytest.fixture
def segmentor(root):
    return str(root / 'configs/segmentation/upernet_convnext_t_160k.py')


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save({'state_dict': {}}, path)
    return str(path)


def left_behind(cfg):
    """The config that a run leaves in its work directory, as read again."""
    path = Path(cfg.work_dir, Path(cfg.filename).name)
    path.parent.mkdir(parents=True, exist_ok=True)
    cfg.dump(path)
    return str(path)


def test_mini_and_a_data_root_contradict_each_other(detector):
    with pytest.raises(ValueError, match='--mini makes its own data'):
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
    cfg = prepare(detector, use_mini=True, cfg_options=options)
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval, cfg.train_dataloader.batch_size) == (3, 3, 1)
    assert cfg.optim_wrapper.optimizer.lr == 0.5
    assert (cfg.param_scheduler[1].end, cfg.param_scheduler[1].milestones) == (24, [18, 22])
    assert cfg.model.backbone.init_cfg == dict(type='ConvNeXtPretrained', checkpoint='own.pth')
    assert (cfg.model.backbone.drop_path_rate, cfg.model.neck.in_channels) == (0.3, [128, 256, 512, 1024])
    cfg = prepare(detector, data_root='given', cfg_options={'val_dataloader.dataset.data_root': 'asked'})
    assert (cfg.train_dataloader.dataset.data_root, cfg.val_dataloader.dataset.data_root) == ('given', 'asked')


def test_mini_starts_from_random_weights_whatever_the_size(detector):
    cfg = prepare(detector, use_mini=True, cfg_options={'model.backbone.arch': 'nano', 'model.backbone.version': 2})
    assert cfg.model.backbone.init_cfg is None
    configure_training(cfg)


def test_work_dir_is_named_after_the_config(detector, tmp_path):
    assert prepare(detector).work_dir == 'work_dirs/mask_rcnn_convnext_t_3x'
    assert prepare(detector, use_mini=True).work_dir == 'work_dirs/mask_rcnn_convnext_t_3x_mini'
    assert prepare(detector, cfg_options={'work_dir': 'own'}).work_dir == 'own'
    assert prepare(detector, work_dir='given', cfg_options={'work_dir': 'own'}).work_dir == 'given'


def test_home_folder_is_expanded(detector, tmp_path):
    cfg = prepare(detector, data_root='~/coco', work_dir='~/runs/1')
    assert cfg.work_dir == str(tmp_path / 'home/runs/1')
    assert cfg.train_dataloader.dataset.data_root == cfg.data_root == str(tmp_path / 'home/coco')
    assert cfg.val_evaluator.ann_file == str(tmp_path / 'home/coco/annotations/instances_val2017.json')


def test_seed_is_kept_beside_other_randomness(detector):
    assert 'randomness' not in prepare(detector)
    options = {'randomness.deterministic': True, 'randomness.seed': 1}
    assert prepare(detector, cfg_options=options).randomness == dict(deterministic=True, seed=1)
    assert prepare(detector, cfg_options=options, seed=0).randomness == dict(deterministic=True, seed=0)


@pytest.mark.parametrize('again', [False, True], ids=['without --mini', 'with --mini'])
@pytest.mark.parametrize('name', ['detector', 'segmentor'])
def test_config_left_behind_by_a_mini_training_is_prepared_to_the_same(name, again, request):
    cfg = prepare(request.getfixturevalue(name), use_mini=True, seed=3)
    second = prepare(left_behind(cfg), use_mini=again)
    assert second.adapted == []  # to this machine it was
    assert {**second.to_dict(), 'adapted': cfg.adapted} == cfg.to_dict()
    third = prepare(left_behind(cfg), use_mini=again, cfg_options={'model.backbone.arch': 'atto'})
    assert third.train_cfg == cfg.train_cfg


def test_hooks_of_a_run_are_not_in_the_config_it_leaves_behind(detector, checkpoint):
    cfg = prepare(detector, use_mini=True)
    configure_test(cfg, checkpoint, show_dir='pictures')
    assert [hook.type for hook in cfg.run_hooks] == ['ProgressBarHook', 'ResultPicturesHook']
    assert 'custom_hooks' not in cfg
    assert [hook.type for hook in prepare(left_behind(cfg)).run_hooks] == ['ProgressBarHook']


def test_training_refuses_weights_of_another_size_unless_given_others(detector, checkpoint, monkeypatch):
    monkeypatch.setattr('mmconvnext.engine.prepare.check_data', lambda *args: CheckedData())

    def configured(**options):
        cfg = prepare(detector, cfg_options={'model.backbone.arch': 'xlarge'})
        configure_training(cfg, **options)
        return cfg.model.backbone.init_cfg

    with pytest.raises(ValueError, match=r'convnext_xlarge.in22k.*--pretrained'):
        configured()
    assert configured(pretrained='own.pth').checkpoint == 'own.pth'
    assert configured(pretrained='none') is None
    assert configured(resume=checkpoint) is None
    # A test loads the whole model
    configure_test(prepare(detector, cfg_options={'model.backbone.arch': 'xlarge'}), checkpoint)


def test_config_without_validation_or_a_base_batch_size(detector, monkeypatch):
    checked = []

    def check(cfg, loaders, segmentation):
        checked.extend(loaders)
        return CheckedData()

    monkeypatch.setattr('mmconvnext.engine.prepare.check_data', check)
    cfg = prepare(detector, cfg_options=dict(val_dataloader=None, val_cfg=None, val_evaluator=None, auto_scale_lr=None))
    configure_training(cfg)
    assert checked == ['train_dataloader']
    with pytest.raises(ValueError, match='--auto-scale-lr needs'):
        configure_training(cfg, auto_scale_lr=True)


def test_config_without_test_data_is_a_sentence(detector, checkpoint):
    cfg = prepare(detector, cfg_options=dict(test_dataloader=None, test_cfg=None, test_evaluator=None))
    with pytest.raises(ValueError, match='no test_dataloader'):
        configure_test(cfg, checkpoint)


def test_config_of_one_s_own_is_prepared(tmp_path):
    path = tmp_path / 'own.py'
    path.write_text("model = dict(backbone=dict(type='ConvNeXt', arch='atto'))\ndefault_scope = 'mmdet'\n")
    cfg = prepare(str(path))
    assert isinstance(cfg, Config)
    with pytest.raises(ValueError, match='--mini knows MaskRCNN'):
        prepare(str(path), use_mini=True)
