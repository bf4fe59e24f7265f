"""Toy data in a user's own classes, sound, for the tests to damage."""

import json

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS
from PIL import Image

from mmconvnext.config.data_root import set_data_root
from mmconvnext.datasets.checks import check_data
from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.findings import Findings
from mmconvnext.datasets.label_maps import check_label_maps

CLASSES = ('cat', 'traffic light')
HEIGHT, WIDTH = 64, 96


@pytest.fixture
def own_coco(tmp_path):
    """A folder in COCO's layout: two images a split, an object of each class on each."""
    categories = [{'id': 7, 'name': CLASSES[0]}, {'id': 3, 'name': CLASSES[1]}]
    for split in ('train', 'val'):
        folder = tmp_path / f'{split}2017'
        folder.mkdir()
        images, annotations = [], []
        for i in range(2):
            name = f'{split}_{i}.jpg'
            Image.new('RGB', (WIDTH, HEIGHT), (40 * i, 90, 30 * len(split))).save(folder / name)
            images.append({'id': i, 'file_name': name, 'height': HEIGHT, 'width': WIDTH})
            for j, category in enumerate(categories):
                x, y, w, h = box = [10 + 30 * j, 8, 20, 30]
                polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
                annotations.append(
                    dict(id=len(annotations) + 1, image_id=i, category_id=category['id'], bbox=box, area=w * h)
                    | dict(iscrowd=0, segmentation=[polygon])
                )
        content = {'images': images, 'annotations': annotations, 'categories': categories}
        path = tmp_path / f'annotations/instances_{split}2017.json'
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def own_masks(tmp_path):
    """A folder in ADE20K's layout: two PNG images a split, with label maps of the values 0 and 1."""
    for split in ('training', 'validation'):
        for kind in ('images', 'annotations'):
            (tmp_path / kind / split).mkdir(parents=True)
        for i in range(2):
            labels = np.zeros((HEIGHT, WIDTH), np.uint8)
            labels[10:40, 20:70] = 1
            Image.new('RGB', (WIDTH, HEIGHT), (40 * i, 90, 9 * len(split))).save(tmp_path / f'images/{split}/{i}.png')
            Image.fromarray(labels).save(tmp_path / f'annotations/{split}/{i}.png')
    return tmp_path


@pytest.fixture
def own_detection(root, own_coco):
    """A config for ``own_coco``."""
    cfg = Config.fromfile(root / 'configs/detection/mask_rcnn_convnext_t_3x.py')
    set_data_root(cfg, own_coco)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo = dict(classes=CLASSES)
    for head in (cfg.model.roi_head.bbox_head, cfg.model.roi_head.mask_head):
        head.num_classes = len(CLASSES)
    return cfg


@pytest.fixture
def own_segmentation(root, own_masks):
    """A config for ``own_masks``."""
    cfg = Config.fromfile(root / 'configs/segmentation/upernet_convnext_t_160k.py')
    set_data_root(cfg, own_masks)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.update(type='BaseSegDataset', metainfo=dict(classes=CLASSES), img_suffix='.png')
        for transform in loader.dataset.pipeline:
            transform.pop('reduce_zero_label', None)
    for head in (cfg.model.decode_head, cfg.model.auxiliary_head):
        head.num_classes = len(CLASSES)
    return cfg


@pytest.fixture
def check():
    """Checks the data of a config's training; returns what was found, unless that refuses it."""

    def run(cfg):
        checked = check_data(cfg, ('train_dataloader', 'val_dataloader'), segmentation=cfg.default_scope == 'mmseg')
        checked.findings.refuse()
        return checked

    return run


@pytest.fixture
def complaint(check):
    """The message about a config's data, whose parts must all be in it."""

    def run(cfg, *parts):
        with pytest.raises(DataError) as error:
            check(cfg)
        message = str(error.value)
        for part in parts:
            assert str(part) in message, message
        return message

    return run


@pytest.fixture
def refused(check):
    """The one finding that refuses a config's data."""

    def run(cfg, kind):
        with pytest.raises(DataError) as error:
            check(cfg)
        (finding,) = error.value.facts['findings']
        assert finding.kind == kind, finding
        return finding

    return run


@pytest.fixture
def repaint(own_masks):
    """Replaces the second training label map."""

    def run(labels, mode=None):
        Image.fromarray(labels).convert(mode).save(own_masks / 'annotations/training/1.png')

    return run


@pytest.fixture
def repaint_all(own_masks):
    """Changes every training label map by a function of its labels."""

    def run(change):
        for path in (own_masks / 'annotations/training').iterdir():
            Image.fromarray(change(np.asarray(Image.open(path)))).save(path)

    return run


@pytest.fixture
def found(own_segmentation):
    """Gathers the findings of the training split, by kind."""

    def run(*, eight_bits=True, **options):
        node = own_segmentation.train_dataloader.dataset
        with DATASETS.switch_scope_and_registry('mmseg') as registry:
            dataset = registry.build(node.to_dict() | dict(lazy_init=True, pipeline=[]) | options)
        findings = Findings()
        check_label_maps(findings, dataset, 'train', None, eight_bits=eight_bits)
        return {finding.kind: finding for finding in findings}

    return run
