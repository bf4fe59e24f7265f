"""Every detector without masks trains a step on a CPU, without compiled operators, on data that has boxes alone."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from mmconvnext.config.data_root import set_data_root
from mmconvnext.config.machine import adapt
from mmconvnext.config.neck_and_heads import match_backbone
from mmconvnext.config_tree import walk
from mmconvnext.datasets import mini
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

IMAGES = 8  # the seventh has no object
SMALL_MODEL = dict(
    num_classes=5,
    nms_pre=50,
    max_per_img=20,
    num=16,  # RoIs of an image
    num_queries=20,
    num_dn_queries=10,
    fc_out_channels=32,
    feedforward_channels=32,
)
SMALL_IMAGES = dict(scales=[(96, 128), (128, 96)], crop_size=(64, 96))
LOSSES = {
    'faster_rcnn_convnext_t_3x': {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'acc'},
    'cascade_rcnn_convnext_t_3x': {
        *('loss_rpn_cls', 'loss_rpn_bbox'),
        *(f's{stage}.{name}' for stage in range(3) for name in ('loss_cls', 'loss_bbox', 'acc')),
    },
    'retinanet_convnext_t_3x': {'loss_cls', 'loss_bbox'},
    'dino_convnext_t_1x': {
        f'{layer}loss_{name}'
        for layer in ('', 'enc_', 'dn_', *(f'd{i}.' for i in range(5)), *(f'd{i}.dn_' for i in range(5)))
        for name in ('cls', 'bbox', 'iou')
    },
}


@pytest.fixture(scope='module')
def boxes_only(tmp_path_factory):
    """COCO-style data whose annotations have no segmentation."""
    root = tmp_path_factory.mktemp('boxes') / 'mini'
    mini.write_mini(root, train_images=IMAGES, val_images=1, image_size=(96, 128))
    for path in root.glob('coco/annotations/*.json'):
        content = json.loads(path.read_text())
        for annotation in content['annotations']:
            del annotation['segmentation']
        path.write_text(json.dumps(content))
    return root / 'coco'


@pytest.fixture
def training(boxes_only, monkeypatch):
    """A config's model, optimizer and training images, all of it small."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)  # the models stay on the CPU

    def build(stem):
        cfg = Config.fromfile(ROOT / f'configs/detection/{stem}.py')
        init_default_scope(cfg.default_scope)
        cfg.launcher = 'none'
        adapt(cfg)
        set_data_root(cfg, boxes_only)
        toy = dict(depths=(1, 1, 1, 1), widths=(16, 16, 24, 32))
        # Without stochastic depth, which leaves the blocks that it drops without a gradient
        cfg.model.backbone.update(arch=toy, drop_path_rate=0.0, init_cfg=None)
        match_backbone(cfg.model)
        for node in walk(cfg.model):
            node.update({key: value for key, value in SMALL_MODEL.items() if key in node})
        for node in walk(cfg.train_dataloader):
            node.update({key: value for key, value in SMALL_IMAGES.items() if key in node})
        cfg.train_dataloader.update(num_workers=0, persistent_workers=False, batch_size=IMAGES)
        cfg.train_dataloader.dataset.update(
            metainfo=dict(classes=mini.DETECTION_CLASSES), filter_cfg=dict(filter_empty_gt=False)
        )
        model = MODELS.build(cfg.model)
        model.init_weights()
        batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
        return model.train(), build_optim_wrapper(model, cfg.optim_wrapper), batch

    return build


def chosen(batch, wanted):
    """The images of a batch that ``wanted`` chooses by their number of objects."""
    picked = [i for i, sample in enumerate(batch['data_samples']) if wanted(len(sample.gt_instances))]
    return {name: [values[i] for i in picked[:2]] for name, values in batch.items()}


def backward(model, batch):
    """Losses of a batch, with the gradients of their sum in the model."""
    data = model.data_preprocessor(batch, training=True)
    assert not any('masks' in sample.gt_instances for sample in data['data_samples'])
    losses = model.loss(data['inputs'], data['data_samples'])
    total, values = model.parse_losses(losses)
    assert all(value.isfinite() for value in values.values())
    total.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []  # DDP would wait for them
    assert all(p.grad.isfinite().all() for p in model.parameters())
    return losses


@pytest.mark.parametrize('stem', LOSSES)
def test_a_step_on_boxes_alone(training, stem):
    model, optimizer, batch = training(stem)
    losses = backward(model, chosen(batch, lambda objects: objects > 0))
    assert losses.keys() == LOSSES[stem]
    assert [name for name, p in model.backbone.named_parameters() if not p.grad.any()] == []
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer.step()
    assert [name for name, p in model.backbone.named_parameters() if torch.equal(p, before[f'backbone.{name}'])] == []
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize('stem', LOSSES)
def test_a_step_on_images_without_objects(training, stem):
    model, _, batch = training(stem)
    backward(model, chosen(batch, lambda objects: objects == 0))
