"""Every config is what its name says, is complete, and costs what the paper says."""

import re

import mmengine.registry
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmconvnext.backbones import resolve_arch
from mmconvnext.checkpoints.manifest import MANIFEST
from mmconvnext.config.backbone import find_backbone
from tests.conftest import ROOT
from zoo.complexity import measure
from zoo.page import PUBLISHED_COSTS

CONFIGS = sorted(p for task in ('detection', 'segmentation') for p in (ROOT / 'configs' / task).glob('*.py'))
LETTERS = dict(a='atto', n='nano', t='tiny', s='small', b='base', l='large', xl='xlarge', h='huge')
MODELS = dict(
    mask='MaskRCNN',
    cascade='CascadeRCNN',
    faster='FasterRCNN',
    retinanet='RetinaNet',
    dino='PaperDINO',
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
    needed = ['mmconvnext', *(['mmconvnext.detectors'] if cfg.model.type == 'PaperDINO' else [])]
    assert cfg.custom_imports == dict(imports=needed, allow_failed_imports=False)
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


def test_configs_are_installed_for_mim():
    from mmengine.hub import get_config

    cfg = get_config('mmconvnext::detection/mask_rcnn_convnext_t_3x.py')
    assert cfg.model.backbone.type == 'ConvNeXt'
