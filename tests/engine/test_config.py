from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmconvnext.engine import config


@pytest.fixture
def detector(root):
    return str(root / 'configs/detection/mask_rcnn_convnext_t_3x.py')


@pytest.fixture
def segmentor(root):
    return str(root / 'configs/segmentation/upernet_convnext_t_160k.py')


def test_widths_follow_the_arch(detector, segmentor):
    cfg = config.load_config(detector, {'model.backbone.arch': 'atto'})
    assert cfg.model.neck.in_channels == [40, 80, 160, 320]
    cfg = config.load_config(segmentor, {'model.backbone.arch': 'base', 'model.decode_head.in_index': [1, 2, 3]})
    assert cfg.model.decode_head.in_channels == [256, 512, 1024]
    assert cfg.model.auxiliary_head.in_channels == 512


def test_wrong_backbone_argument_fails_before_anything_is_built(detector):
    with pytest.raises(ValueError, match='choose from atto'):
        config.load_config(detector, {'model.backbone.arch': 'tinny'})
    with pytest.raises(ValueError, match='--cfg-options does not fit the config: arch='):
        config.load_config(detector, {'model.backbone.arch.depths': [1, 1, 1, 1]})
    with pytest.raises(ValueError, match='there is no config file'):
        config.load_config('configs/detection/none.py')


def test_data_root_moves_datasets_and_evaluators(detector):
    cfg = config.load_config(detector)
    config.set_data_root(cfg, Path('elsewhere/tiny'))
    assert cfg.train_dataloader.dataset.data_root == 'elsewhere/tiny'
    assert cfg.val_dataloader.dataset.data_root == 'elsewhere/tiny'
    assert cfg.test_evaluator.ann_file == 'elsewhere/tiny/annotations/instances_val2017.json'
    assert 'data/coco' not in str([cfg.train_dataloader, cfg.val_dataloader, cfg.test_evaluator])


def test_data_root_moves_a_dataset_whatever_the_top_level_says(detector):
    cfg = config.load_config(detector, {'data_root': 'unused/'})
    config.set_data_root(cfg, Path('elsewhere'))
    assert cfg.train_dataloader.dataset.data_root == 'elsewhere'
    assert cfg.val_evaluator.ann_file == 'elsewhere/annotations/instances_val2017.json'
    with pytest.raises(ValueError, match='nothing to move'):
        config.set_data_root(Config(dict(train_dataloader=dict(dataset=dict(type='CocoDataset')))), Path('elsewhere'))


def test_pretrained(detector):
    cfg = config.load_config(detector)
    assert cfg.model.backbone.init_cfg.checkpoint == 'convnext_tiny.in1k'
    config.set_pretrained(cfg, 'mine.pth')
    assert cfg.model.backbone.init_cfg == dict(type='ConvNeXtPretrained', checkpoint='mine.pth')
    config.set_pretrained(cfg, 'none')
    assert cfg.model.backbone.init_cfg is None


def test_tta_wraps_a_segmentor_and_is_refused_for_a_detector(detector, segmentor):
    cfg = config.load_config(segmentor)
    config.set_tta(cfg)
    assert cfg.model.type == 'SegTTAModel'
    assert cfg.model.module.test_cfg.mode == 'whole'
    assert cfg.test_dataloader.dataset.pipeline[-1].type == 'TestTimeAug'
    with pytest.raises(ValueError, match='cannot merge masks'):
        config.set_tta(config.load_config(detector))


def test_task_is_told_by_the_scope(detector, segmentor):
    assert not config.is_segmentation(config.load_config(detector))
    assert config.is_segmentation(config.load_config(segmentor))
    with pytest.raises(ValueError, match="'mmdet'"):
        config.is_segmentation(Config(dict(default_scope='mmpretrain')))


def test_model_without_convnext_is_an_error():
    with pytest.raises(ValueError, match="no backbone of type 'ConvNeXt'"):
        config.find_backbone(Config(dict(model=dict(backbone=dict(type='ResNet')))).model)


@pytest.mark.parametrize('name', ['detector', 'segmentor'])
def test_models_build_with_another_arch(name, request):
    cfg = config.load_config(request.getfixturevalue(name), {'model.backbone.arch': 'atto'})
    init_default_scope(cfg.default_scope)
    MODELS.build(cfg.model)
