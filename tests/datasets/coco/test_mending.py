import json
import os
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DATASETS
from pycocotools import mask as mask_utils

from mmconvnext.config.prepare import Prepared, prepare_training
from mmconvnext.datasets.coco.mending import Mends, write_copy
from mmconvnext.datasets.errors import DataError
from tests.datasets.coco.conftest import TRAIN, VAL, every, without


def test_the_file_stays_and_files_of_one_name_have_copies_of_their_own(tmp_path):
    content = {'images': [], 'categories': [], 'annotations': [{'id': 0}, {'id': 0, 'iscrowd': 1}], 'info': {'by': 'é'}}
    copies = []
    for split in ('train', 'valid'):
        path = tmp_path / split / '_annotations.coco.json'
        path.parent.mkdir()
        path.write_text(json.dumps(content), encoding='utf-8-sig')
        before = path.read_bytes()
        copies.append(write_copy(str(path), Mends(renumber=True, crowd=True), tmp_path / 'mended'))
        assert path.read_bytes() == before
    assert len(set(copies)) == 2
    assert sorted(os.listdir(tmp_path / 'mended')) == sorted(map(os.path.basename, copies))  # nothing unfinished
    assert json.loads((tmp_path / 'mended' / copies[0]).read_text()) == content | {
        'annotations': [{'id': 1, 'iscrowd': 0}, {'id': 2, 'iscrowd': 1}]
    }


def test_copies_are_read_within_wrappers_and_by_the_evaluator(own_coco, own_detection, mended, rewrite):
    rewrite(every('annotations', id=0))
    rewrite(every('annotations', id=0), VAL)
    node = own_detection.train_dataloader.dataset
    own_detection.train_dataloader.dataset = dict(
        type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[node])
    )
    mended(own_detection)
    train = own_detection.train_dataloader.dataset.dataset.datasets[0].ann_file
    val = own_detection.val_dataloader.dataset.ann_file
    assert train != val == own_detection.val_evaluator.ann_file
    assert [a['id'] for a in json.loads(Path(train).read_text())['annotations']] == [1, 2, 3, 4]
    assert own_detection.test_dataloader.dataset.ann_file == val  # it is the same file


# What makes the evaluation fail, or wrong, unless it reads a copy
VAL_DAMAGES = {
    'annotation-id-0': lambda c: [a.update(id=i) for i, a in enumerate(c['annotations'])] and None,
    'annotation-ids-repeated': every('annotations', id=5),
    'annotation-ids': without('annotations', 'id'),
    'annotations-repeated': lambda c: c['annotations'].append(dict(c['annotations'][0])),
    'iscrowd-missing': without('annotations', 'iscrowd', slice(2, 3)),
    'categories-repeated': lambda c: c.update(categories=c['categories'][:1] * 3 + c['categories'][1:]),
    'categories-unused': lambda c: c['categories'].insert(0, dict(id=0, name='cat', supercategory='none')),
    'images-repeated': lambda c: c['images'].append(dict(c['images'][0])),
    'polygons-short': lambda c: c['annotations'][1]['segmentation'].insert(0, [1, 2, 3, 4]),
    'annotations-of-unlisted-images': lambda c: c['images'].pop() and None,
}


@pytest.mark.parametrize('kind', VAL_DAMAGES)
def test_what_is_read_as_meant_is_evaluated_right(kind, rewrite, own_detection, mended, perfect_scores):
    rewrite(VAL_DAMAGES[kind], VAL)
    assert list(mended(own_detection)) == [kind]
    assert perfect_scores(own_detection) == (1.0, 1.0)


def test_byte_order_mark(own_coco, own_detection, mended, perfect_scores):
    for name in (TRAIN, VAL):
        (own_coco / name).write_bytes(b'\xef\xbb\xbf' + (own_coco / name).read_bytes())
    assert list(mended(own_detection)) == ['encoding']
    assert perfect_scores(own_detection) == (1.0, 1.0)


def test_sizes_that_are_whole_numbers_with_a_point(rewrite, own_detection, mended, perfect_scores):
    rewrite(every('images', width=96.0, height=64.0), VAL)
    assert mended(own_detection) == {'image-sizes-with-point': 2}
    assert perfect_scores(own_detection) == (1.0, 1.0)


def test_a_sound_file_has_no_copy(own_detection, check):
    assert check(own_detection).mends == {}


def test_a_training_file_has_no_copy_for_what_only_an_evaluation_trips_over(rewrite, own_detection, check):
    rewrite(without('annotations', 'iscrowd'))
    checked = check(own_detection)
    assert [finding.kind for finding in checked.findings] == ['iscrowd-missing']
    assert checked.mends == {}


def test_a_training_is_prepared_with_copies_in_its_work_directory(own_coco, own_detection, rewrite, capsys):
    rewrite(every('annotations', id=0), VAL)
    own_detection.update(work_dir=str(own_coco / 'work'), launcher='none', load_from=None)
    prepare_training(Prepared(own_detection), pretrained='none')
    (copy,) = (own_coco / 'work/mended').iterdir()
    assert own_detection.val_evaluator.ann_file == str(copy)
    assert own_detection.train_dataloader.dataset.ann_file == TRAIN
    assert '4 of 4 annotations have the id 0' in capsys.readouterr().out


def test_a_training_that_is_refused_leaves_nothing(own_coco, own_detection, rewrite):
    rewrite(every('annotations', id=0, area=None), VAL)
    own_detection.update(work_dir=str(own_coco / 'work'), launcher='none', load_from=None)
    with pytest.raises(DataError):
        prepare_training(Prepared(own_detection), pretrained='none')
    assert not (own_coco / 'work').exists()


def test_categories_are_numbered_in_the_order_of_the_config(rewrite, own_detection, mended):
    """The advice for train and val files of different orders was right for one of them only."""
    rewrite(lambda content: content['categories'].reverse(), VAL)
    assert list(mended(own_detection)) == ['categories-order']
    for loader in ('train_dataloader', 'val_dataloader'):
        with DATASETS.switch_scope_and_registry('mmdet') as registry:
            dataset = registry.build(own_detection[loader].dataset.to_dict() | dict(pipeline=[]))
        dataset.full_init()
        # The category 7 is "cat", the first class of the config, and 3 "traffic light"
        assert dataset.cat2label == {7: 0, 3: 1}


def test_counts_of_run_lengths_that_are_written_as_bytes(rewrite, own_detection, mended, perfect_scores):
    def damage(content):
        for annotation in content['annotations']:
            x, y, w, h = annotation['bbox']
            mask = np.zeros((64, 96), np.uint8)
            mask[y : y + h, x : x + w] = 1
            annotation['segmentation'] = mask_utils.encode(np.asfortranarray(mask))
            annotation['segmentation']['counts'] = str(annotation['segmentation']['counts'])

    rewrite(damage, VAL)
    assert mended(own_detection) == {'counts-of-bytes': 4}
    assert perfect_scores(own_detection) == (1.0, 1.0)
