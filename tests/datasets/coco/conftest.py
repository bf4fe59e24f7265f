"""Damages the toy annotation files."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS
from pycocotools import mask as mask_utils

from mmconvnext.config.data_root import set_data_root
from mmconvnext.datasets.checks import point_at_copies
from mmconvnext.datasets.coco.mending import write_copy
from tests.datasets.conftest import CLASSES

TRAIN = 'annotations/instances_train2017.json'
VAL = 'annotations/instances_val2017.json'


def corners(box):
    """The polygon of a box."""
    x, y, w, h = box
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def run_lengths(box):
    """Of a box's mask in an image of 64x96, column by column."""
    x, y, w, h = box
    runs = [x * 64 + y, *[h, 64 - h] * (w - 1), h]
    return dict(counts=[*runs, 64 * 96 - sum(runs)], size=[64, 96])


@pytest.fixture
def own_boxes(root, own_coco):
    """A config for ``own_coco`` that reads no masks."""
    cfg = Config.fromfile(root / 'configs/detection/faster_rcnn_convnext_t_3x.py')
    set_data_root(cfg, own_coco)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo = dict(classes=CLASSES)
    cfg.model.roi_head.bbox_head.num_classes = len(CLASSES)
    return cfg


@pytest.fixture
def rewrite(own_coco):
    """Damages an annotation file by a function of its content."""

    def run(damage, name=TRAIN):
        path = own_coco / name
        content = json.loads(path.read_text())
        replaced = damage(content)
        path.write_text(json.dumps(content if replaced is None else replaced))
        return path

    return run


def every(key, **fields):
    """Sets fields of every record."""
    return lambda content: [record.update(fields) for record in content[key]] and None


def without(key, field, which=slice(None)):
    """Takes a field away from the given records."""
    return lambda content: [record.pop(field) for record in content[key][which]] and None


@pytest.fixture
def mended(check, tmp_path):
    """Checks the data of a config, which then reads copies where files need mending; returns the findings' kinds."""

    def run(cfg):
        checked = check(cfg)
        copies = {path: write_copy(path, mends, tmp_path / 'mended') for path, mends in checked.mends.items()}
        point_at_copies(cfg, copies)
        return {finding.kind: finding.count for finding in checked.findings}

    return run


@pytest.fixture
def perfect_scores():
    """Box and mask AP of a config's evaluator for what its own dataset reads as truth, crowds aside."""

    def run(cfg):
        with DATASETS.switch_scope_and_registry('mmdet') as registry:
            dataset = registry.build(dict(cfg.val_dataloader.dataset, pipeline=[]))
        with METRICS.switch_scope_and_registry('mmdet') as registry:
            metric = registry.build(cfg.val_evaluator)
        metric.dataset_meta = dataset.metainfo
        for sample in dataset:
            size = sample['height'], sample['width']
            objects = [instance for instance in sample['instances'] if not instance['ignore_flag']]
            masks = [_decoded(instance['mask'], *size) for instance in objects]
            predicted = dict(
                bboxes=torch.tensor([instance['bbox'] for instance in objects]).reshape(-1, 4),
                labels=torch.tensor([instance['bbox_label'] for instance in objects], dtype=torch.long),
                scores=torch.ones(len(objects)),
                masks=torch.from_numpy(np.array(masks, bool).reshape(-1, *size)),
            )
            metric.process({}, [dict(img_id=sample['img_id'], ori_shape=size, pred_instances=predicted)])
        scores = metric.evaluate(size=len(dataset))
        return scores['coco/bbox_mAP'], scores['coco/segm_mAP']

    return run


def _decoded(segmentation, height, width):
    if isinstance(segmentation, list):
        segmentation = mask_utils.merge(mask_utils.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation['counts'], list):
        segmentation = mask_utils.frPyObjects(segmentation, height, width)
    return mask_utils.decode(segmentation)
