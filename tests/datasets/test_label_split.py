"""A split takes labels away and nothing else."""

import copy
import json
import random

import pytest
from mmdet.datasets import CocoDataset

from mmconvnext.datasets import mini
from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.label_split import make_named_split, split_file, split_labels
from mmconvnext.errors import UserError


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'mini'
    mini.write_mini(root, train_images=30, val_images=1, image_size=(64, 96))
    return root / 'coco/annotations/instances_train2017.json'


@pytest.fixture
def coco(source):
    return json.loads(source.read_text())


def ids(part):
    return [image['id'] for image in part['images']]


@pytest.mark.parametrize(('percent', 'count'), [(10, 3), (50, 15), (0.1, 1), (99.9, 29), (25, 8)])
def test_every_image_is_on_one_side_and_labels_stay_with_the_share(coco, percent, count):
    before = copy.deepcopy(coco)
    labelled, unlabelled = split_labels(coco, percent, 1)
    assert coco == before
    assert len(ids(labelled)) == count
    assert sorted(ids(labelled) + ids(unlabelled)) == ids(coco)
    assert labelled['annotations'] == [a for a in coco['annotations'] if a['image_id'] in ids(labelled)]
    assert unlabelled['annotations'] == []
    for part in (labelled, unlabelled):
        assert {k: v for k, v in part.items() if k not in ('images', 'annotations')} == {
            k: coco[k] for k in ('info', 'licenses', 'categories')
        }


def test_the_choice_depends_on_the_fold_and_not_on_the_order(coco):
    first, again = (ids(split_labels(coco, 20, 1)[0]) for _ in range(2))
    assert first == again
    assert first != ids(split_labels(coco, 20, 2)[0])
    assert set(first) < set(ids(split_labels(coco, 40, 1)[0]))
    random.Random(0).shuffle(coco['images'])
    assert set(ids(split_labels(coco, 20, 1)[0])) == set(first)


def test_the_choice_is_the_same_on_every_machine():
    # Worked out by `printf 1:ID | sha256sum` for each id
    coco = dict(images=[dict(id=i) for i in range(1, 11)], annotations=[], categories=[])
    assert ids(split_labels(coco, 20, 1)[0]) == [4, 7]


@pytest.mark.parametrize(('percent', 'fold'), [(0, 1), (100, 1), (-5, 1), (10, -1)])
def test_arguments_out_of_range(coco, percent, fold):
    with pytest.raises(ValueError, match=str(fold if fold < 0 else percent)):
        split_labels(coco, percent, fold)


def test_one_image_cannot_be_split(coco):
    coco['images'] = coco['images'][:1]
    with pytest.raises(ValueError, match='1 images'):
        split_labels(coco, 10, 1)


def test_files_are_named_as_mmdetections_and_its_dataset_reads_them(source, tmp_path):
    files = split_file(source, 10.0, 1, tmp_path)
    assert [files.labelled.name, files.unlabelled.name] == [
        'instances_train2017.1@10.json',
        'instances_train2017.1@10-unlabeled.json',
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([files.labelled.name, files.unlabelled.name])
    metainfo = dict(classes=mini.DETECTION_CLASSES)
    read = [
        CocoDataset(ann_file=str(path), metainfo=metainfo, data_prefix=dict(img='x/'), pipeline=[])
        for path in (files.labelled, files.unlabelled)
    ]
    assert [len(dataset) for dataset in read] == [3, 27]
    assert sum(len(read[0].get_data_info(i)['instances']) for i in range(3)) > 0
    assert sum(len(read[1].get_data_info(i)['instances']) for i in range(27)) == 0


def test_a_split_that_a_config_names_is_made_once(source):
    path = source.parent.parent / 'semi_anns' / 'instances_train2017.3@20-unlabeled.json'
    assert make_named_split(path)
    assert len(json.loads(path.read_text())['images']) == 24
    path.write_text('{}')
    assert make_named_split(path)
    assert path.read_text() == '{}'
    for other in (source, path.with_name('instances_train2017.json'), source.with_name(path.name)):
        assert not make_named_split(other)


@pytest.mark.parametrize(
    ('text', 'fact'), [('{"images": []', None), ('[]', 'images'), ('{"images": [], "annotations": []}', 'categories')]
)
def test_another_file_is_refused(tmp_path, text, fact):
    path = tmp_path / 'annotations' / 'a.json'
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        split_file(path, 10, 1)
    assert caught.value.facts['path'] == path
    assert fact is None or fact in caught.value.facts['missing']
    assert not (tmp_path / 'semi_anns').exists()


def test_a_full_disk_leaves_the_file_from_before(source, tmp_path, largest_file):
    files = split_file(source, 10, 1, tmp_path)
    before = files.labelled.read_bytes()
    with largest_file(100), pytest.raises(UserError) as caught:
        split_file(source, 10, 1, tmp_path)
    assert caught.value.facts['path'] == files.labelled
    assert files.labelled.read_bytes() == before
    assert len([*tmp_path.iterdir()]) == 2
