import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmconvnext.datasets import mini

REQUEST = {'train_images': 14, 'val_images': 9, 'image_size': (96, 128), 'seed': 3}
SPLITS = {'train': 'training', 'val': 'validation'}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'mini'
    mini.write_mini(root, **REQUEST)
    return root


@pytest.fixture(params=SPLITS)
def split(request):
    return request.param


@pytest.fixture
def truth(root, split):
    return json.loads((root / f'coco/annotations/instances_{split}2017.json').read_text())


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def label_map(root, split, image_id):
    name = f'ADE_{split}_{image_id:08d}.png'
    return np.array(Image.open(root / 'ade/annotations' / SPLITS[split] / name))


def test_classes_and_palettes_belong_together():
    assert len(mini.DETECTION_CLASSES) == len(mini.DETECTION_PALETTE) >= 4
    assert len(mini.SEGMENTATION_CLASSES) == len(mini.SEGMENTATION_PALETTE)
    assert mini.SEGMENTATION_CLASSES[-len(mini.DETECTION_CLASSES) :] == mini.DETECTION_CLASSES
    assert len(set(mini.SEGMENTATION_PALETTE)) == len(mini.SEGMENTATION_PALETTE)
    for entry in mini.SEGMENTATION_PALETTE:
        assert len(entry) == 3
        assert all(type(c) is int and 0 <= c <= 255 for c in entry)


@pytest.mark.parametrize('shape', mini.SHAPES, ids=lambda shape: shape.name)
def test_every_shape_just_fits_the_unit_circle(shape):
    v, u = np.mgrid[-1.2:1.2:481j, -1.2:1.2:481j]
    radii = np.hypot(u, v)[shape.distance(u, v) < 0]
    assert 0.97 < radii.max() <= 1


def test_the_same_bytes_from_another_process(root, tmp_path):
    # Run by its path: importing the package would bring in torch, for nothing but its seconds.
    code = (
        f'import runpy; from pathlib import Path; names = runpy.run_path({mini.__file__!r}); '
        f'names["write_mini"](Path({str(tmp_path / "mini")!r}), **{REQUEST!r})'
    )
    # This process has a random hash seed, unless it was given one: take another.
    seed = '1' if os.environ.get('PYTHONHASHSEED') != '1' else '2'
    environment = {**os.environ, 'PYTHONHASHSEED': seed}
    subprocess.run([sys.executable, '-c', code], check=True, env=environment)
    assert contents(tmp_path / 'mini') == contents(root)


def test_an_image_does_not_depend_on_how_many_there_are(root, tmp_path):
    mini.write_mini(tmp_path / 'mini', **{**REQUEST, 'train_images': 5, 'val_images': 1})
    full = contents(root)
    few = contents(tmp_path / 'mini')
    pictures = [name for name in few if name.endswith(('.jpg', '.png'))]
    assert len(pictures) == 3 * (5 + 1)
    assert all(few[name] == full[name] for name in pictures)


def test_no_picture_occurs_twice(root):
    pictures = list((root / 'coco').rglob('*.jpg'))
    assert len({path.read_bytes() for path in pictures}) == len(pictures) == 14 + 9


def test_another_seed_gives_other_pictures(root, tmp_path):
    mini.write_mini(tmp_path / 'mini', **{**REQUEST, 'seed': 4})
    pictures = [path.read_bytes() for path in (root / 'coco').rglob('*.jpg')]
    assert not any(path.read_bytes() in pictures for path in tmp_path.rglob('*.jpg'))


def test_layout(root, split, truth):
    count = REQUEST[f'{split}_images']
    for image in truth['images']:
        stem = f'ADE_{split}_{image["id"]:08d}'
        picture = root / f'coco/{split}2017' / image['file_name']
        twin = root / f'ade/images/{SPLITS[split]}/{stem}.jpg'
        assert picture.read_bytes() == twin.read_bytes()
        assert Image.open(picture).size == (image['width'], image['height']) == (128, 96)
        labels = label_map(root, split, image['id'])
        assert labels.shape == (96, 128)
        assert labels.dtype == np.uint8
        assert labels.max() <= len(mini.SEGMENTATION_CLASSES)
    assert [image['id'] for image in truth['images']] == list(range(1, count + 1))
    numbers = range(1, len(truth['annotations']) + 1)
    assert [annotation['id'] for annotation in truth['annotations']] == list(numbers)
    names = tuple(category['name'] for category in truth['categories'])
    assert names == mini.DETECTION_CLASSES


def test_boxes_and_areas_are_those_of_the_masks(truth):
    for annotation in truth['annotations']:
        mask = rle.decode(annotation['segmentation'])
        rows, columns = np.nonzero(mask)
        left, top = columns.min(), rows.min()
        box = [left, top, columns.max() - left + 1, rows.max() - top + 1]
        assert annotation['bbox'] == box
        assert annotation['area'] == mask.sum() > 0


def test_label_maps_agree_with_the_masks_in_every_pixel(root, split, truth):
    first_shape = 1 + mini.SEGMENTATION_CLASSES.index(mini.DETECTION_CLASSES[0])
    for image in truth['images']:
        labels = label_map(root, split, image['id'])
        expected = np.zeros_like(labels)
        for annotation in truth['annotations']:
            if annotation['image_id'] == image['id']:
                mask = rle.decode(annotation['segmentation']).astype(bool)
                assert not expected[mask].any(), 'Two visible masks overlap.'
                expected[mask] = first_shape + annotation['category_id'] - 1
        np.testing.assert_array_equal(np.where(labels < first_shape, 0, labels), expected)


def test_each_split_holds_every_class_a_crowd_an_empty_image_and_ignored_pixels(root, split, truth):
    objects = [annotation for annotation in truth['annotations'] if not annotation['iscrowd']]
    categories = {annotation['category_id'] for annotation in objects}
    assert categories == set(range(1, len(mini.DETECTION_CLASSES) + 1))
    assert len(objects) < len(truth['annotations'])
    assert {annotation['image_id'] for annotation in objects} < {image['id'] for image in truth['images']}
    for image in truth['images']:
        values = set(np.unique(label_map(root, split, image['id'])).tolist())
        assert values >= {mini.UNLABELLED, mini.SKY, mini.GROUND}


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_the_truth_as_detections_scores_ap_1(root, split, kind):
    truth = COCO(root / f'coco/annotations/instances_{split}2017.json')
    key = {'bbox': 'bbox', 'segm': 'segmentation'}[kind]
    detections = [
        {**{k: truth.anns[i][k] for k in ('image_id', 'category_id', key)}, 'score': 0.9}
        for i in truth.getAnnIds(iscrowd=False)
    ]
    evaluation = COCOeval(truth, truth.loadRes(detections), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


def test_mmdet_and_mmseg_read_it(root):
    from mmdet.datasets import CocoDataset
    from mmseg.datasets import BaseSegDataset

    detection = CocoDataset(
        data_root=str(root / 'coco'),
        ann_file='annotations/instances_train2017.json',
        data_prefix={'img': 'train2017/'},
        metainfo={'classes': mini.DETECTION_CLASSES, 'palette': mini.DETECTION_PALETTE},
        pipeline=[
            {'type': 'mmdet.LoadImageFromFile'},
            {'type': 'mmdet.LoadAnnotations', 'with_bbox': True, 'with_mask': True},
        ],
    )
    assert len(detection) == REQUEST['train_images']
    crowd, empty = detection[mini.CROWD], detection[mini.EMPTY]
    assert crowd['gt_ignore_flags'].tolist().count(True) == 1
    assert crowd['gt_masks'].masks.any(axis=(1, 2)).all()
    boxes = crowd['gt_masks'].get_bboxes('hbox').numpy()
    np.testing.assert_array_equal(boxes, crowd['gt_bboxes'].numpy())
    assert len(empty['gt_bboxes']) == 0

    segmentation = BaseSegDataset(
        data_root=str(root / 'ade'),
        data_prefix={'img_path': 'images/training', 'seg_map_path': 'annotations/training'},
        metainfo={'classes': mini.SEGMENTATION_CLASSES, 'palette': mini.SEGMENTATION_PALETTE},
        reduce_zero_label=True,
        pipeline=[{'type': 'mmseg.LoadAnnotations'}],
    )
    assert len(segmentation) == REQUEST['train_images']
    expected = label_map(root, 'train', 1) - np.uint8(1)  # 0 wraps to 255, mmseg's ignore index
    np.testing.assert_array_equal(segmentation[0]['gt_seg_map'], expected)


def test_the_same_set_is_not_written_again(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob('*')}
    mini.write_mini(root, **REQUEST)
    assert {path: path.stat().st_mtime_ns for path in root.rglob('*')} == before


def test_files_missing_from_a_set_are_made_again_and_others_are_left_alone(root, tmp_path):
    whole = contents(root)
    mini.write_mini(tmp_path / 'mini', **REQUEST)
    edited = tmp_path / 'mini/coco/train2017/000000000001.jpg'
    edited.write_bytes(b'mine')
    for name in ('coco/annotations/instances_val2017.json', 'ade/annotations/training/ADE_train_00000003.png'):
        (tmp_path / 'mini' / name).unlink()
    shutil.rmtree(tmp_path / 'mini/ade/images/validation')
    mini.write_mini(tmp_path / 'mini', **REQUEST)
    assert edited.read_bytes() == b'mine'
    edited.write_bytes(whole['coco/train2017/000000000001.jpg'])
    assert contents(tmp_path / 'mini') == whole
    assert [path.name for path in tmp_path.iterdir()] == ['mini']


def test_a_set_of_an_older_format_is_left_untouched(tmp_path, monkeypatch):
    mini.write_mini(tmp_path / 'mini', **REQUEST)
    before = contents(tmp_path / 'mini')
    monkeypatch.setattr(mini, 'FORMAT', mini.FORMAT + 1)
    with pytest.raises(FileExistsError, match=f'{tmp_path / "mini"} holds another mini set'):
        mini.write_mini(tmp_path / 'mini', **REQUEST)
    assert contents(tmp_path / 'mini') == before


@pytest.mark.parametrize('change', [{'seed': 4}, {'train_images': 5}, {'image_size': (128, 96)}])
def test_another_mini_set_is_never_overwritten(root, change):
    with pytest.raises(FileExistsError, match='left untouched'):
        mini.write_mini(root, **{**REQUEST, **change})


def test_a_foreign_folder_is_never_overwritten(tmp_path):
    (tmp_path / 'thesis.tex').write_text('years of work')
    with pytest.raises(FileExistsError, match='left untouched'):
        mini.write_mini(tmp_path, **REQUEST)
    assert contents(tmp_path) == {'thesis.tex': b'years of work'}


@pytest.mark.parametrize('interruption', [KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch, interruption):
    draw = mini.draw_scene

    def interrupted(size, index, rng):
        if index == 3:
            raise interruption
        return draw(size, index, rng)

    monkeypatch.setattr(mini, 'draw_scene', interrupted)
    with pytest.raises(interruption):
        mini.write_mini(tmp_path / 'mini', **REQUEST)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_may_write_the_same_set_at_once(tmp_path, monkeypatch):
    draw = mini.draw_scene

    def overtaken(size, index, rng):
        # The other process starts and finishes while this one draws.
        monkeypatch.setattr(mini, 'draw_scene', draw)
        mini.write_mini(tmp_path / 'mini', **REQUEST)
        return draw(size, index, rng)

    monkeypatch.setattr(mini, 'draw_scene', overtaken)
    mini.write_mini(tmp_path / 'mini', **REQUEST)
    assert [path.name for path in tmp_path.iterdir()] == ['mini']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'train_images': 0}, 'at least one image'),
        ({'val_images': -1}, 'at least one image'),
        ({'image_size': (63, 96)}, 'at least 64 pixels'),
        ({'image_size': (96, 96, 3)}, 'must be .height, width.'),
        ({'seed': -1}, 'must not be negative'),
    ],
)
def test_wrong_arguments_are_explained(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        mini.write_mini(tmp_path / 'mini', **{**REQUEST, **change})
    assert list(tmp_path.iterdir()) == []
