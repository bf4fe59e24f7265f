"""The configs that learn from images without labels are complete, and teacher and student differ in noise alone."""

import mmengine.registry
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmconvnext.backbones import resolve_arch
from mmconvnext.checkpoints.manifest import MANIFEST
from mmconvnext.config.prepare import configure
from mmconvnext.datasets import mini
from mmconvnext.semi.settings import settings_of
from tests.conftest import ROOT

CONFIGS = ROOT / 'configs/semi'
TEACHER = CONFIGS / 'mask_rcnn_convnext_t_10p.py'
STUDENTS = [CONFIGS / f'noisy_student_mask_rcnn_convnext_{size}_10p.py' for size in 'ts']


@pytest.mark.parametrize('path', [TEACHER, *STUDENTS], ids=lambda path: path.stem)
def test_a_config_builds_with_the_weights_of_its_size(path):
    cfg = Config.fromfile(path)
    backbone = cfg.model.backbone
    assert MANIFEST[backbone.init_cfg.checkpoint].arch == backbone.arch
    assert cfg.model.neck.in_channels == list(resolve_arch(backbone.arch).widths)
    assert cfg.train_dataloader.batch_size * 8 == cfg.auto_scale_lr.base_batch_size == 16
    init_default_scope(cfg.default_scope)
    with torch.device('meta'):
        mmengine.registry.MODELS.build(cfg.model)


def test_the_length_is_36_epochs_milestones_in_steps():
    cfg = Config.fromfile(TEACHER)
    steps = cfg.train_cfg.max_iters
    assert steps % cfg.train_cfg.val_interval == steps % cfg.default_hooks.checkpoint.interval == 0
    main = cfg.param_scheduler[1]
    assert (main.end, [milestone * 36 for milestone in main.milestones]) == (steps, [27 * steps, 33 * steps])
    assert not any(scheduler.by_epoch for scheduler in cfg.param_scheduler)
    assert not cfg.log_processor.by_epoch


def test_teacher_and_student_differ_in_noise_alone():
    teacher, student = (Config.fromfile(path).to_dict() for path in (TEACHER, STUDENTS[0]))
    assert settings_of(Config.fromfile(STUDENTS[0])).teacher.resolve() == TEACHER
    pipelines = [cfg['train_dataloader']['dataset'].pop('pipeline') for cfg in (teacher, student)]
    assert [t for t in pipelines[1] if t not in pipelines[0]] == student['noise']
    assert [t for t in pipelines[1] if t in pipelines[0]] == pipelines[0]
    rates = [cfg['model']['backbone'].pop('drop_path_rate') for cfg in (teacher, student)]
    assert rates[0] < rates[1]
    del student['noisy_student'], student['noise']
    assert student == teacher


@pytest.mark.parametrize('path', STUDENTS, ids=lambda path: path.stem)
def test_mini_has_a_tenth_of_the_labels(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('mmconvnext.config.mini_recipe.IMAGE_SIZE', (64, 96))
    monkeypatch.setattr('mmconvnext.config.mini_recipe.TRAIN_IMAGES', 50)
    cfg, notes = configure(str(path), use_mini=True)
    assert notes == []
    init_default_scope('mmdet')
    dataset = mmengine.registry.DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == 5
    assert dataset.metainfo['classes'] == mini.DETECTION_CLASSES
    sample = dataset[0]
    assert sample['data_samples'].gt_instances.masks.masks.shape[1:] == tuple(sample['inputs'].shape[1:])
    assert cfg.train_cfg.max_iters == 6 * 13  # epochs of all images, in batches of four


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.py')), ids=lambda path: path.stem)
def test_a_training_by_steps_has_a_sampler_without_an_end(path):
    cfg = Config.fromfile(path)
    assert 'max_iters' in cfg.train_cfg
    assert cfg.train_dataloader.sampler.type in ('InfiniteSampler', 'LabelledAndUnlabelledSampler')
