"""The configs in docs/your_own_data.md run as they stand, on data of the kind that the page describes."""

import re

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS

from mmconvnext.config.prepare import prepare, prepare_training
from mmconvnext.datasets.num_classes import check_num_classes


@pytest.fixture
def page(root):
    return (root / 'docs/your_own_data.md').read_text(encoding='utf-8')


@pytest.fixture
def own_config(root, page, tmp_path):
    """Writes the config of the given name as the page has it, but for the place of its base."""

    def write(name):
        (block,) = re.findall(rf'```python\n# configs/own/{name}\n(.*?)```', page, flags=re.DOTALL)
        path = tmp_path / name
        path.write_text(block.replace("'../", f"'{root.as_posix()}/configs/"))
        return path

    return write


def built(cfg, loader):
    with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
        return registry.build(cfg[loader].dataset)


def test_own_coco_data(own_config, own_coco, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/pets').symlink_to(own_coco)
    run = prepare(str(own_config('mask_rcnn_pets.py')))
    prepare_training(run, pretrained='none')
    cfg = run.cfg
    assert cfg.val_evaluator.ann_file == cfg.test_evaluator.ann_file == 'data/pets/annotations/instances_val2017.json'
    assert cfg.test_dataloader.dataset.metainfo == cfg.train_dataloader.dataset.metainfo
    for loader in ('train_dataloader', 'val_dataloader'):
        dataset = built(cfg, loader)
        assert len(dataset) == 2
        truth = dataset[0]['data_samples'].gt_instances
        assert sorted(instance['bbox_label'] for instance in dataset.get_data_info(0)['instances']) == [0, 1]
        # A random crop of training may leave objects out
        assert sorted(truth.labels.tolist()) == [0, 1] or loader == 'train_dataloader'
        assert len(truth.masks) == len(truth.labels)


def test_own_label_maps(own_config, own_masks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/streets').symlink_to(own_masks)
    run = prepare(str(own_config('upernet_streets.py')))
    prepare_training(run, pretrained='none')
    cfg = run.cfg
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = built(cfg, loader)
        assert len(dataset) == 2
        labels = dataset[0]['data_samples'].gt_sem_seg.data
        assert set(np.unique(labels)) <= {0, 1, 255}  # a crop is padded with 255
        assert (labels == 1).any() or loader == 'train_dataloader'


def test_lines_for_cascade(root, page, tmp_path):
    (block,) = re.findall(r'```python\n(heads = .*?)```', page, flags=re.DOTALL)
    path = tmp_path / 'cascade.py'
    path.write_text(f'_base_ = {str(root / "configs/detection/cascade_convnext_t_3x.py")!r}\n{block}')
    base, own = Config.fromfile(root / 'configs/detection/cascade_convnext_t_3x.py'), Config.fromfile(path)
    assert [head.pop('num_classes') for head in own.model.roi_head.bbox_head] == [2, 2, 2]
    assert [head.pop('num_classes') for head in base.model.roi_head.bbox_head] == [80, 80, 80]
    assert own.model.roi_head.bbox_head == base.model.roi_head.bbox_head


def test_boxes_only(root, own_config, own_coco, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/pets').symlink_to(own_coco)
    path = own_config('mask_rcnn_pets.py')
    text = path.read_text().replace('mask_rcnn_convnext_t_3x', 'faster_rcnn_convnext_t_3x')
    path.write_text(text.replace(', mask_head=dict(num_classes=num_classes)', ''))
    run = prepare(str(path))
    prepare_training(run, pretrained='none')
    cfg = run.cfg
    assert cfg.model.roi_head.mask_head is None
    assert 'masks' not in built(cfg, 'train_dataloader')[0]['data_samples'].gt_instances


def test_one_output_for_one_class(root, page, tmp_path):
    (block,) = re.findall(r'```python\n(single = .*?)```', page, flags=re.DOTALL)
    path = tmp_path / 'single.py'
    path.write_text(f'_base_ = {str(root / "configs/segmentation/upernet_convnext_t_160k.py")!r}\n{block}')
    model = Config.fromfile(path).model
    check_num_classes(model, ('background', 'road'), 'the_dataset')  # which needs a sigmoid
    assert {head.out_channels for head in (model.decode_head, model.auxiliary_head)} == {1}
