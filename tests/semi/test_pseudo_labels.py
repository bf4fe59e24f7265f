"""Pseudo labels: which predictions are kept, and that what is written is plain COCO."""

import json

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO

from mmconvnext.errors import UserError
from mmconvnext.semi.pseudo_labels import Selection, label, write_labels

HEIGHT, WIDTH = 64, 96


def images(count):
    return [dict(id=10 * i, file_name=f'{i}.jpg', height=HEIGHT, width=WIDTH) for i in range(1, count + 1)]


def unlabelled(count=4):
    # Category ids are not their places, as in COCO
    return dict(
        info=dict(description='toy'),
        images=images(count),
        annotations=[],
        categories=[dict(id=7, name='cat'), dict(id=3, name='dog')],
    )


def box(image, category, score, bbox=(8.0, 4.0, 20.0, 30.0), mask=True):
    found = dict(image_id=image, category_id=category, bbox=list(bbox), score=score)
    if mask:
        x, y, w, h = (round(v) for v in bbox)
        pixels = np.zeros((HEIGHT, WIDTH), np.uint8, order='F')
        pixels[max(y, 0) : y + h, max(x, 0) : x + w] = 1
        pixels[max(y, 0), max(x, 0)] = 0  # so that the mask is not the box
        encoded = run_lengths.encode(pixels)
        found['segmentation'] = dict(size=encoded['size'], counts=encoded['counts'].decode())
    return found


def test_the_threshold_is_the_lowest_score_that_is_kept():
    predictions = [box(10, 7, 0.9), box(10, 3, 0.5), box(20, 7, 0.49), box(30, 3, 0.5)]
    content, counts = label(unlabelled(), predictions, Selection(0.5))
    assert [(a['image_id'], a['category_id'], a['score']) for a in content['annotations']] == [
        (10, 7, 0.9),
        (10, 3, 0.5),
        (30, 3, 0.5),
    ]
    assert [image['id'] for image in content['images']] == [10, 30]
    assert (counts.predicted, counts.kept, counts.images, counts.without_box) == (4, 3, 4, 2)
    assert {name: (c.predicted, c.kept, c.images) for name, c in counts.classes.items()} == {
        'cat': (2, 1, 1),
        'dog': (2, 2, 2),
    }
    for number in (4, 3, 2):
        assert str(number) in counts.table()


def test_a_threshold_for_each_class():
    predictions = [box(10, 7, 0.6), box(10, 3, 0.6)]
    content, _ = label(unlabelled(), predictions, Selection(dict(cat=0.7, dog=0.5)))
    assert [a['category_id'] for a in content['annotations']] == [3]
    with pytest.raises(UserError) as caught:
        label(unlabelled(), predictions, Selection(dict(cat=0.7, god=0.5)))
    assert (caught.value.facts['missing'], caught.value.facts['unknown']) == (['dog'], ['god'])


def test_annotations_are_ordered_and_boxes_are_cut_at_the_border():
    predictions = [
        box(20, 7, 0.6),
        box(20, 3, 0.8, bbox=(-5.0, 50.0, 25.0, 30.0)),
        box(20, 3, 0.9, bbox=(95.5, 10.0, 4.0, 4.0), mask=False),  # half a pixel is inside
        box(10, 3, 0.7),
    ]
    content, counts = label(unlabelled(), predictions, Selection(0.5))
    assert [(a['id'], a['image_id'], a['score']) for a in content['annotations']] == [
        (1, 10, 0.7),
        (2, 20, 0.8),
        (3, 20, 0.6),
    ]
    assert content['annotations'][1]['bbox'] == [0.0, 50.0, 20.0, 14.0]
    assert counts.without_pixels == 1


def test_a_mask_without_a_pixel_is_no_label():
    empty = run_lengths.encode(np.zeros((HEIGHT, WIDTH), np.uint8, order='F'))
    predictions = [box(10, 7, 0.9), box(10, 7, 0.9) | dict(segmentation=dict(size=[64, 96], counts=empty['counts']))]
    content, counts = label(unlabelled(), predictions, Selection(0.5))
    assert (len(content['annotations']), counts.without_pixels) == (1, 1)


def test_common_classes_keep_their_most_confident_images_and_rare_ones_all():
    predictions = [box(10 * i, 7, score) for i, score in enumerate((0.6, 0.9, 0.8, 0.7), 1)]
    predictions += [box(40, 3, 0.5), box(40, 7, 0.55)]
    content, counts = label(unlabelled(), predictions, Selection(0.5, images_per_class=2))
    # 20 and 30 for the cat; 40 is the dog's only one, and its cats stay in it
    assert [image['id'] for image in content['images']] == [20, 30, 40]
    assert [a['category_id'] for a in content['annotations'] if a['image_id'] == 40] == [7, 7, 3]
    assert counts.balanced_away == 1


@pytest.mark.parametrize('predictions', [[], [box(10, 7, 0.3)]])
def test_a_teacher_that_finds_nothing_is_said(predictions):
    with pytest.raises(UserError) as caught:
        label(unlabelled(), predictions, Selection(0.5))
    assert caught.value.facts == dict(predicted=len(predictions), highest=0.3 if predictions else 0.0)


@pytest.mark.parametrize('masks', [True, False])
def test_the_file_is_plain_coco(tmp_path, masks):
    (tmp_path / 'unlabelled.json').write_text(json.dumps(unlabelled()))
    predictions = [box(10, 7, 0.9, mask=masks), box(30, 3, 0.8, bbox=(1.5, 2.25, 40.0, 50.0), mask=masks)]
    (tmp_path / 'results.json').write_text(json.dumps(predictions))
    path = tmp_path / 'pseudo.json'
    write_labels(tmp_path / 'unlabelled.json', tmp_path / 'results.json', Selection(0.5), path)
    truth = COCO(str(path))
    assert truth.getCatIds() == [7, 3]
    for annotation, prediction in zip(truth.loadAnns(truth.getAnnIds()), predictions):
        assert annotation['bbox'] == prediction['bbox']
        assert (annotation['score'], annotation['iscrowd']) == (prediction['score'], 0)
        if masks:
            assert annotation['area'] == truth.annToMask(annotation).sum()
            assert (truth.annToMask(annotation) == run_lengths.decode(prediction['segmentation'])).all()
        else:
            assert annotation['area'] == prediction['bbox'][2] * prediction['bbox'][3]
    dataset = CocoDataset(
        ann_file=str(path), metainfo=dict(classes=('cat', 'dog')), data_prefix=dict(img='x/'), pipeline=[]
    )
    read = [(one['bbox_label'], one['bbox']) for i in range(2) for one in dataset.get_data_info(i)['instances']]
    assert read == [(0, [8.0, 4.0, 28.0, 34.0]), (1, [1.5, 2.25, 41.5, 52.25])]


def test_a_full_disk_leaves_the_file_from_before(tmp_path, largest_file):
    (tmp_path / 'unlabelled.json').write_text(json.dumps(unlabelled()))
    (tmp_path / 'results.json').write_text(json.dumps([box(10, 7, 0.9)]))
    path = tmp_path / 'pseudo.json'
    path.write_text('before')
    with largest_file(100), pytest.raises(UserError) as caught:
        write_labels(tmp_path / 'unlabelled.json', tmp_path / 'results.json', Selection(0.5), path)
    assert caught.value.facts['path'] == path
    assert path.read_text() == 'before'
    assert len([*tmp_path.iterdir()]) == 3
