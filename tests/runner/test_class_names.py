"""Class names of checkpoints and datasets; that a runner compares them is in test_quiet_runner.py."""

from types import SimpleNamespace

import pytest
from torch.utils.data import ConcatDataset, Dataset, Subset

from mmconvnext.datasets.findings import Severity
from mmconvnext.runner.class_names import classes_of_checkpoint, compare, compare_datasets


class Named(list, Dataset):
    """A dataset of three samples with class names."""

    def __init__(self, *classes):
        super().__init__(range(3))
        self.metainfo = dict(classes=classes)


@pytest.mark.parametrize(
    ('there', 'here', 'moved', 'renamed'),
    [
        (('cat', 'dog'), ('cat', 'dog'), {}, []),
        (('cat', 'bed '), ['Cat', 'bed'], {}, []),  # as MMSegmentation writes some of ADE20K's
        (('cat', 'dog'), ('dog', 'cat'), {'cat': (0, 1), 'dog': (1, 0)}, []),
        (('cat', 'dog', 'cow'), ('dog', 'fox', 'cow'), {'dog': (1, 0)}, []),
        (('cat', 'dog'), ('cat', 'hound'), {}, [('dog', 'hound')]),
        (('cat', 'dog', 'cow'), ('cat', 'dog'), {}, []),
        (('a', 'a', 'b'), ('a', 'b', 'a'), {'b': (2, 1)}, []),
    ],
)
def test_difference_of_class_names(there, here, moved, renamed):
    difference = compare(there, here)
    assert (difference.moved, difference.renamed) == (moved, renamed)


@pytest.mark.parametrize(
    ('meta', 'classes'),
    [
        ({'dataset_meta': {'classes': ['cat', 'dog']}}, ('cat', 'dog')),
        ({'dataset_meta': {'CLASSES': ('cat',)}}, ('cat',)),
        ({'CLASSES': ('cat', 'dog')}, ('cat', 'dog')),
        ({'CLASSES': None, 'dataset_meta': None}, None),
        ({'CLASSES': 'cat'}, None),
        ({'dataset_meta': {'classes': [1, 2]}}, None),
        ({}, None),
    ],
)
def test_classes_of_a_checkpoint_of_any_version(meta, classes):
    assert classes_of_checkpoint(meta) == classes


def test_validation_classes_in_another_order_than_the_training_s():
    findings = compare_datasets({'train': Named('cat', 'dog'), 'val': Named('dog', 'cat')})
    (found,) = findings
    assert (found.kind, found.severity, found.file) == ('classes-in-another-order', Severity.REFUSES, 'val')


def test_datasets_of_one_training_in_different_orders():
    """MMEngine takes the names of the first where ``ignore_keys`` has ``classes``."""
    both = ConcatDataset([Named('cat', 'dog'), Subset(Named('dog', 'cat'), [0, 1])])
    (found,) = compare_datasets({'train': both, 'val': Named('cat', 'dog')})
    assert (found.kind, found.file) == ('classes-in-another-order', 'train.datasets.1.dataset')


def test_validation_classes_of_other_names():
    (found,) = compare_datasets({'train': Named('cat', 'dog'), 'val': Named('cat', 'Hund')})
    assert (found.kind, found.severity) == ('classes-of-other-names', Severity.CHANGES)
    assert not list(compare_datasets({'train': Named('cat', 'dog'), 'val': Named('Cat', 'dog ')}))
    assert not list(compare_datasets({'train': SimpleNamespace(), 'val': Named('cat', 'dog')}))
