"""The configs with a student and a teacher: what they say, and what is checked and scaled down of them."""

import json

import pytest
from mmengine.config import Config

from mmconvnext.config import mini_recipe
from mmconvnext.config.metric_names import check_monitored
from mmconvnext.config.options import Options
from mmconvnext.config.prepare import load_config
from mmconvnext.config_tree import datasets_of, walk
from mmconvnext.errors import UserError
from mmconvnext.runner.metrics_table import metrics_table
from tests.conftest import ROOT
from tests.semi.teachers import META, SOFT_TEACHER

STEMS = [SOFT_TEACHER, META]
ALONE = 'faster_rcnn_convnext_t_10p'


@pytest.mark.parametrize('stem', STEMS)
def test_they_are_complete_and_of_the_same_detector_and_schedule(stem):
    cfg, alone = (Config.fromfile(ROOT / f'configs/semi/{name}.py') for name in (stem, ALONE))
    assert cfg.model.detector == alone.model
    assert cfg.model.data_preprocessor.data_preprocessor == alone.model.data_preprocessor
    assert cfg.train_cfg == alone.train_cfg
    assert cfg.param_scheduler == alone.param_scheduler
    assert cfg.optim_wrapper.optimizer == alone.optim_wrapper.optimizer
    assert cfg.auto_scale_lr.base_batch_size == 8 * cfg.train_dataloader.batch_size
    labelled, unlabelled = cfg.train_dataloader.dataset.datasets
    assert alone.train_dataloader.dataset.ann_file == labelled.ann_file
    assert unlabelled.ann_file == labelled.ann_file.replace('.json', '-unlabeled.json')
    assert labelled.pipeline[:-1] == alone.train_dataloader.dataset.pipeline[:-1]
    assert 'homography_matrix' in unlabelled.pipeline[-1].unsup_student[-1].meta_keys
    assert 'mmconvnext.semi.registered' in cfg.custom_imports.imports


def test_soft_teachers_settings_are_mmdetections():
    import mmdet

    theirs = Config.fromfile(
        f'{mmdet.__path__[0]}/.mim/configs/soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'
    )
    ours = Config.fromfile(ROOT / f'configs/semi/{SOFT_TEACHER}.py')
    assert {k: v for k, v in ours.model.semi_train_cfg.items() if k != 'burn_in'} == theirs.model.semi_train_cfg
    assert ours.model.semi_train_cfg.burn_in == 0
    assert ours.train_cfg == theirs.train_cfg
    assert ours.train_dataloader.sampler.source_ratio == theirs.train_dataloader.sampler.source_ratio
    for one, other in zip(ours.train_dataloader.dataset.datasets, theirs.train_dataloader.dataset.datasets):
        assert one.pipeline == other.pipeline
        assert one.filter_cfg == other.filter_cfg


@pytest.mark.parametrize('stem', STEMS)
def test_mini_has_a_tenth_of_the_labels(stem, tmp_path, monkeypatch):
    monkeypatch.setattr(mini_recipe, 'TRAIN_IMAGES', 20)
    monkeypatch.setattr(mini_recipe, 'VAL_IMAGES', 2)
    cfg = load_config(ROOT / f'configs/semi/{stem}.py')
    mini_recipe.scale_down(cfg, tmp_path / 'mini', Options(None, cfg))
    parts = [
        json.loads((tmp_path / 'mini/coco' / node.ann_file).read_text())
        for _, node in datasets_of(cfg.train_dataloader.dataset)
    ]
    assert [len(part['images']) for part in parts] == [2, 18]
    assert len(parts[0]['annotations']) > 0
    assert parts[1]['annotations'] == []
    assert parts[0]['categories'] == parts[1]['categories']
    recipe = mini_recipe.RECIPES[cfg.model.type]
    assert cfg.model.detector.train_cfg.rcnn.sampler.num == recipe.rois
    assert cfg.model.detector.roi_head.bbox_head.num_classes == 5
    assert cfg.model.detector.backbone.init_cfg is None
    assert {tuple(n.scale[0]) for n in walk(cfg.train_dataloader) if n.get('type') == 'RandomResize'} == {(173, 52)}
    assert mini_recipe.reads_from(cfg, tmp_path / 'mini')
    # One that was scaled down stays as it is
    before = cfg.to_dict()
    mini_recipe.scale_down(cfg, tmp_path / 'mini', Options(None, cfg))
    assert cfg.to_dict() == before


@pytest.mark.parametrize('part', ['teacher', 'student'])
def test_metrics_of_both_can_be_monitored(part):
    cfg = Config.fromfile(ROOT / f'configs/semi/{SOFT_TEACHER}.py')
    cfg.default_hooks.checkpoint.save_best = f'{part}/coco/bbox_mAP'
    check_monitored(cfg)
    cfg.default_hooks.checkpoint.save_best = 'coco/bbox_mAP'
    with pytest.raises(UserError) as error:
        check_monitored(cfg)
    assert f'{part}/coco/bbox_mAP' in error.value.facts['names']


def test_the_table_has_a_row_of_each():
    metrics = {f'{part}/coco/bbox_mAP{s}': v for part, v in (('teacher', 0.5), ('student', 0.25)) for s in ('', '_50')}
    head, *rows = metrics_table(metrics).splitlines()
    assert [row.split()[:4] for row in rows] == [
        ['teacher', 'box', '0.500', '0.500'],
        ['student', 'box', '0.250', '0.250'],
    ]
    assert {len(head)} == {len(row) for row in rows}
