"""Every config is what its name says, is complete, and costs what the paper says."""

import re

import mmengine.registry
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmconvnext.backbones import resolve_arch
from mmconvnext.checkpoints.manifest import MANIFEST
from mmconvnext.engine.complexity import measure
from mmconvnext.engine.config import find_backbone
from mmconvnext.engine.tree import walk
from mmconvnext.engine.zoo import PUBLISHED_COSTS
from tests.conftest import ROOT

CONFIGS = sorted(p for p in (ROOT / 'configs').glob('*/*.py') if p.parent.name != '_base_')
LETTERS = dict(a='atto', n='nano', t='tiny', s='small', b='base', l='large', xl='xlarge', h='huge')
MODELS = dict(
    mask='MaskRCNN',
    cascade='CascadeRCNN',
    faster='FasterRCNN',
    retinanet='RetinaNet',
    dino='DINO',
    upernet='EncoderDecoder',
)


def config_ids(path):
    return path.stem


@pytest.mark.parametrize('path', [p for p in CONFIGS if p.stem in PUBLISHED_COSTS], ids=config_ids)
def test_costs_are_the_papers(path):
    params, macs = PUBLISHED_COSTS[path.stem]
    measured = measure(Config.fromfile(path))
    assert measured.params / 1e6 == pytest.approx(params, rel=0.005, abs=0.5)
    assert measured.macs / 1e9 == pytest.approx(macs, rel=0.01)


@pytest.mark.parametrize('path', CONFIGS, ids=config_ids)
def test_config_is_what_its_name_says(path):
    cfg = Config.fromfile(path)
    backbone = find_backbone(cfg.model)
    v2, letter = re.search(r'convnext(v2)?_([a-z]+)', path.stem).groups()
    assert backbone.arch == LETTERS[letter]
    assert backbone.get('version', 1) == (2 if v2 else 1)
    assert cfg.model.type == MODELS[path.stem.split('_')[0]]
    weights = MANIFEST[backbone.init_cfg.checkpoint]
    assert (weights.arch, weights.version) == (backbone.arch, backbone.get('version', 1))
    assert ('in22k' in path.stem, 'dinov3' in path.stem) == (
        weights.data == 'ImageNet-22k' and 'dino_' not in path.stem,
        'DINOv3' in weights.data,
    )
    assert cfg.custom_imports.imports == ['mmconvnext']
    # 8 GPUs x 2 images
    assert cfg.train_dataloader.batch_size * 8 == cfg.auto_scale_lr.base_batch_size == 16


@pytest.mark.parametrize('path', CONFIGS, ids=config_ids)
def test_widths_written_down_are_the_backbones(path):
    # MMDetection's and MMSegmentation's own tools take them from the file
    model = Config.fromfile(path).model
    backbone = find_backbone(model)
    widths = resolve_arch(backbone.arch).widths
    if 'neck' in model:
        assert model.neck.in_channels == [widths[i] for i in backbone.get('out_indices', range(4))]
    else:
        assert model.decode_head.in_channels == list(widths)
        assert model.auxiliary_head.in_channels == widths[2]


@pytest.mark.parametrize('path', CONFIGS, ids=config_ids)
def test_config_builds(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    with torch.device('meta'):
        mmengine.registry.MODELS.build(cfg.model)


def test_detection_recipe_is_the_papers():
    cfg = Config.fromfile(ROOT / 'configs/detection/cascade_convnext_t_3x.py')
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=2e-4, betas=(0.9, 0.999), weight_decay=0.05, fused=True)
    assert cfg.optim_wrapper.paramwise_cfg == dict(decay_rate=0.7, decay_type='layer_wise')
    warmup, steps = cfg.param_scheduler
    assert (warmup.start_factor, warmup.end, warmup.by_epoch) == (0.001, 1000, False)
    assert (steps.milestones, cfg.train_cfg.max_epochs) == ([27, 33], 36)
    assert cfg.model.backbone.drop_path_rate == 0.4
    assert cfg.model.backbone.layer_scale_init_value == 1.0
    pipeline = cfg.train_dataloader.dataset.pipeline
    choice = next(t for t in pipeline if t.type == 'RandomChoice')
    (resize,), (before, crop, after) = choice.transforms
    scales = [(s, 1333) for s in (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)]
    assert resize.scales == after.scales == scales
    assert before.scales == [(400, 1333), (500, 1333), (600, 1333)]
    assert (crop.crop_type, crop.crop_size, crop.allow_negative_crop) == ('absolute_range', (384, 600), True)
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (1333, 800)
    assert cfg.model.train_cfg.rpn.allowed_border == 0
    heads = cfg.model.roi_head.bbox_head
    assert len(heads) == 3
    for head in heads:
        assert (head.num_shared_convs, head.num_shared_fcs, head.norm_cfg.type) == (4, 1, 'SyncBN')
        assert (head.loss_bbox.type, head.loss_bbox.loss_weight) == ('GIoULoss', 10.0)
        assert head.reg_decoded_bbox
        assert not head.reg_class_agnostic


def test_mask_rcnn_recipe_is_the_papers():
    cfg = Config.fromfile(ROOT / 'configs/detection/mask_rcnn_convnext_t_3x.py')
    assert cfg.optim_wrapper.optimizer.lr == 1e-4
    assert cfg.optim_wrapper.paramwise_cfg == dict(decay_rate=0.95, decay_type='layer_wise')
    assert cfg.model.backbone.drop_path_rate == 0.4


def test_segmentation_recipe_is_the_papers():
    cfg = Config.fromfile(ROOT / 'configs/segmentation/upernet_convnext_t_160k.py')
    assert cfg.optim_wrapper.paramwise_cfg == dict(decay_rate=0.9, decay_type='stage_wise')
    assert cfg.optim_wrapper.optimizer.lr == 1e-4
    warmup, poly = cfg.param_scheduler
    assert (warmup.start_factor, warmup.end) == (1e-6, 1500)
    assert (poly.power, poly.eta_min, poly.begin, poly.end, cfg.train_cfg.max_iters) == (1.0, 0, 1500, 160000, 160000)
    assert cfg.model.test_cfg == dict(mode='slide', crop_size=(512, 512), stride=(341, 341))
    assert (cfg.model.decode_head.channels, cfg.model.auxiliary_head.channels) == (512, 256)
    assert cfg.model.auxiliary_head.loss_decode.loss_weight == 0.4
    (resizes, flips, _, _) = cfg.tta_pipeline[-1].transforms
    assert [t.scale for t in resizes] == [
        (1024, 256), (1536, 384), (2048, 512), (2560, 640), (3072, 768), (3584, 896)
    ]  # fmt: skip
    assert [t.prob for t in flips] == [0.0, 1.0]
    assert cfg.tta_test_cfg == dict(mode='whole')
    # The label 0 of ADE20K's maps is no class: every way of loading them must say so
    pipelines = [cfg.train_pipeline, cfg.test_pipeline, cfg.tta_pipeline]
    loads = [node for node in walk(pipelines) if node.get('type') == 'LoadAnnotations']
    assert len(loads) == 3
    assert all(n.reduce_zero_label for n in loads)


def test_configs_are_installed_for_mim():
    from mmengine.hub import get_config

    cfg = get_config('mmconvnext::detection/mask_rcnn_convnext_t_3x.py')
    assert cfg.model.backbone.type == 'ConvNeXt'
