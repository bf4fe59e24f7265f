import os

import pytest

from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.split_overlap import check_overlap

TRAIN, VAL = 'train_dataloader.dataset', 'val_dataloader.dataset'


@pytest.fixture
def images(tmp_path):
    """Writes files of the given contents to a folder; returns their paths."""

    def write(folder, *contents):
        (tmp_path / folder).mkdir()
        paths = []
        for index, content in enumerate(contents):
            (tmp_path / folder / f'{index}.jpg').write_bytes(content)
            paths.append(str(tmp_path / folder / f'{index}.jpg'))
        return paths

    return write


def overlap(images):
    findings = Findings()
    check_overlap(findings, images)
    return {finding.kind: finding for finding in findings}


def test_images_of_both_splits_are_counted(images):
    train, val = images('train', b'cat', b'dog', b'cow'), images('val', b'hen')
    finding = overlap({TRAIN: train, VAL: [*val, *train[:2]]})['images-trained-and-evaluated']
    assert (finding.severity, finding.file, finding.count, finding.total) == (Severity.CHANGES, VAL, 2, 3)
    assert finding.examples == train[:2]


def test_one_folder_by_two_paths(images, tmp_path):
    train = images('train', b'cat')
    (tmp_path / 'link').symlink_to(tmp_path / 'train')
    for path in (tmp_path / 'link/0.jpg', tmp_path / 'train/../train/0.jpg', os.path.relpath(train[0])):
        assert 'images-trained-and-evaluated' in overlap({TRAIN: train, VAL: [str(path)]})


def test_copies_under_other_names(images):
    found = overlap({TRAIN: images('train', b'hen', b'cat', b'cow'), VAL: images('val', b'cat', b'dog', b'four')})
    finding = found['images-trained-and-evaluated-as-copies']
    assert (finding.severity, finding.count, finding.total) == (Severity.CHANGES, 1, 3)
    assert 'val/0.jpg' in finding.examples[0]
    assert 'train/1.jpg' in finding.examples[0]


def test_a_copy_of_the_same_name_is_found_among_many_of_its_size(images):
    train = images('train', *(b'%03d' % i for i in range(100)))
    assert overlap({TRAIN: train, VAL: images('val', *(b'%03d' % i for i in range(100)))})
    assert len(overlap({TRAIN: train, VAL: images('other', *(b'x%02d' % i for i in range(100)))})) == 0


@pytest.mark.parametrize('other', ['train_dataloader.dataset.datasets.1', None])
def test_what_may_share_images(images, other):
    paths = images('both', b'cat')
    shared = {TRAIN: paths, other: paths} if other else {VAL: paths, 'test_dataloader.dataset': paths}
    assert overlap(shared) == {}


def test_absent_files_are_passed_over(images, tmp_path):
    assert overlap({TRAIN: [*images('train', b'cat'), str(tmp_path / 'a.jpg')], VAL: [str(tmp_path / 'b.jpg')]}) == {}
