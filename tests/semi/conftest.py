"""What the tests of learning without labels share: a folder of few small images, and configs for it."""

import json

import pytest

from mmconvnext.datasets import mini
from mmconvnext.datasets.label_split import split_file
from tests.conftest import ROOT

CONFIGS = ROOT / 'configs/semi'


@pytest.fixture(scope='session')
def coco(tmp_path_factory):
    """Ten images of 64x96, of which four have labels."""
    root = tmp_path_factory.mktemp('semi') / 'mini'
    mini.write_mini(root, train_images=10, val_images=2, image_size=(64, 96))
    split_file(root / 'coco/annotations/instances_train2017.json', 40, 1)
    return root / 'coco'


@pytest.fixture
def read():
    """Reads a JSON file."""
    return lambda path: json.loads(path.read_text())
