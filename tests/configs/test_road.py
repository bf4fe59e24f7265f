"""The configs of the road from ResNet to ConvNeXt: one for each step, alike but for the step, and every step trains."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope

from benchmarks.detector import batch
from mmconvnext.backbones.road_steps import NAMES
from mmconvnext.config.machine import adapt
from mmconvnext.config.prepare import load_config
from mmconvnext.config_tree import walk
from tests.conftest import ROOT

FOLDER = ROOT / 'configs/road'
MASK_RCNN = {step: FOLDER / f'mask_rcnn_road_{step}_3x.py' for step in NAMES}
UPERNET = FOLDER / 'upernet_road_160k.py'
SMALL = dict(nms_pre=50, max_per_img=20, num=16, fc_out_channels=8, channels=16)


def test_there_is_a_config_for_each_step():
    assert set(FOLDER.iterdir()) == {*MASK_RCNN.values(), UPERNET}


@pytest.mark.parametrize('step', NAMES)
def test_only_the_step_and_its_channels_differ(step):
    cfg, base = Config.fromfile(MASK_RCNN[step]), Config.fromfile(ROOT / 'configs/_base_/mask_rcnn_road_3x.py')
    assert cfg.model.backbone.pop('step') == step
    with torch.device('meta'):
        backbone = MODELS.build(dict(cfg.model.backbone, step=step))
    # MMDetection's own tools take them from the file
    assert cfg.model.neck.in_channels == list(backbone.out_channels)
    cfg.model.neck.in_channels = base.model.neck.in_channels
    assert cfg.to_dict() == base.to_dict()


@pytest.mark.parametrize(
    ('road', 'convnext'),
    [
        (MASK_RCNN['convnext'], 'detection/mask_rcnn_convnext_t_3x.py'),
        (UPERNET, 'segmentation/upernet_convnext_t_160k.py'),
    ],
)
def test_the_recipe_is_that_of_convnext_tiny(road, convnext):
    ours, theirs = (Config.fromfile(path).to_dict() for path in (road, ROOT / 'configs' / convnext))
    backbones = [cfg['model'].pop('backbone') for cfg in (ours, theirs)]
    assert ours == theirs
    assert [backbones[0][key] for key in ('drop_path_rate', 'layer_scale_init_value')] == [0.4, 1.0]
    assert [backbones[1][key] for key in ('drop_path_rate', 'layer_scale_init_value')] == [0.4, 1.0]


@pytest.mark.parametrize('detector', ['mask_rcnn', 'upernet'])
@pytest.mark.parametrize('step', NAMES)
def test_every_step_trains_a_step(step, detector, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)  # the models stay on the CPU
    path = MASK_RCNN[step] if detector == 'mask_rcnn' else UPERNET
    # 64x96 pixels are too few for the widths of the paper to matter
    options = dict(step=step, depths=(1, 1, 1, 1), width=8, drop_path_rate=0.0)
    cfg = load_config(path, {f'model.backbone.{name}': value for name, value in options.items()})
    init_default_scope(cfg.default_scope)
    cfg.launcher = 'none'
    adapt(cfg)
    for node in walk(cfg.model):
        node.update({key: 16 for key, value in node.items() if value == 256})  # of the neck and all heads
        node.update({key: value for key, value in SMALL.items() if key in node})
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model.train(), cfg.optim_wrapper)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    loss, values = model.parse_losses(model.loss(*batch(cfg, 2, 64, 96, 'cpu')))
    assert all(value.isfinite() for value in values.values())
    loss.backward()
    # DDP would wait for a gradient that does not come
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    optimizer.step()
    assert [n for n, p in model.backbone.named_parameters() if torch.equal(p, before[f'backbone.{n}'])] == []
