"""The configs that most of these tests start from."""

import pytest


@pytest.fixture
def detector(root):
    return str(root / 'configs/detection/mask_rcnn_convnext_t_3x.py')


@pytest.fixture
def segmentor(root):
    return str(root / 'configs/segmentation/upernet_convnext_t_160k.py')
