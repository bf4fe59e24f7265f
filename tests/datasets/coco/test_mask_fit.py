"""Boxes and masks that do not lie on one another, and which mistake that is."""

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from mmconvnext.datasets.findings import Severity
from tests.datasets.coco.conftest import TRAIN, corners, run_lengths, without

BOXES = [[30, 8, 12, 14], [40, 28, 14, 10], [52, 6, 16, 12], [30, 34, 12, 10], [4, 30, 10, 12], [60, 30, 14, 12]]


@pytest.fixture
def write(rewrite):
    """Gives the toy file six objects, of which the i-th one is made by a function of i and its box."""

    def run(make, name=TRAIN):
        def damage(content):
            sample = content['annotations'][0]
            content['annotations'] = [
                dict(sample, id=i + 1, image_id=i % 2, bbox=box, area=box[2] * box[3], segmentation=[corners(box)])
                | make(i, box)
                for i, box in enumerate(BOXES)
            ]

        return rewrite(damage, name)

    return run


def polygon(along):
    """Makes an object whose polygon has each point moved by a function."""

    def make(index, box):
        points = np.array(corners(box), float).reshape(-1, 2)
        return dict(segmentation=[np.reshape([along(x, y, box) for x, y in points], -1).tolist()])

    return make


def by_rows(index, box):
    x, y, w, h = box
    mask = np.zeros((64, 96), np.uint8)
    mask[y : y + h, x : x + w] = 1
    encoded = mask_utils.encode(np.asfortranarray(mask.reshape(-1).reshape((64, 96), order='F')))
    return dict(segmentation=dict(size=[64, 96], counts=encoded['counts'].decode()))


MASKS = {
    'masks-scaled': polygon(lambda x, y, box: (10 * x, 10 * y)),
    'masks-swapped': polygon(lambda x, y, box: (y, x)),
    'masks-in-fractions': polygon(lambda x, y, box: (x / 96, y / 64)),
    'masks-in-percent': polygon(lambda x, y, box: (100 * x / 96, 100 * y / 64)),
    'masks-from-box-corner': polygon(lambda x, y, box: (x - box[0], y - box[1])),
    'masks-by-rows': by_rows,
    'masks-of-next-annotation': lambda i, box: dict(segmentation=[corners(BOXES[i - 1])]),
    'masks-of-previous-annotation': lambda i, box: dict(segmentation=[corners(BOXES[(i + 1) % 6])]),
}
BOXED = {
    'boxes-are-corners': lambda i, box: dict(bbox=[box[0], box[1], box[0] + box[2], box[1] + box[3]]),
    'boxes-are-centered': lambda i, box: dict(bbox=[box[0] + box[2] / 2, box[1] + box[3] / 2, *box[2:]]),
}


@pytest.mark.parametrize('kind', MASKS)
def test_mistakes_in_all_masks(write, own_detection, own_boxes, refused, check, kind):
    path = write(MASKS[kind])
    finding = refused(own_detection, kind)
    assert (finding.file, finding.total) == (str(path), 6)
    assert finding.count >= 5
    assert 'annotations[0] (id 1' in finding.examples[0]
    assert not len(check(own_boxes).findings)  # which reads no masks


@pytest.mark.parametrize('kind', BOXED)
def test_mistakes_in_all_boxes(write, own_detection, own_boxes, refused, kind):
    write(BOXED[kind])
    for cfg in (own_detection, own_boxes):
        finding = refused(cfg, kind)
        assert finding.count == finding.total == 6


def test_scale_is_said(write, own_detection, refused):
    write(polygon(lambda x, y, box: (1.9 * x, 2.2 * y)))
    assert '1.9 across and 2.2 down' in refused(own_detection, 'masks-scaled').remedy


def test_masks_of_other_objects_without_an_order(write, own_detection, check):
    order = [4, 2, 5, 1, 0, 3]
    write(lambda i, box: dict(segmentation=[corners(BOXES[order[i]])]))
    (finding,) = check(own_detection).findings.of('masks-elsewhere')
    assert (finding.count, finding.severity) == (6, Severity.CHANGES)


def test_one_mask_of_another_object(write, own_detection, check):
    write(lambda i, box: dict(segmentation=[corners(BOXES[0])]) if i == 3 else {})
    (finding,) = check(own_detection).findings
    assert (finding.kind, finding.count, finding.severity) == ('masks-elsewhere', 1, Severity.CHANGES)
    assert 'annotations[3]' in finding.examples[0]


@pytest.mark.parametrize(
    'make',
    [
        lambda i, box: dict(segmentation=run_lengths(box)),
        lambda i, box: dict(bbox=[box[0] - 1.5, box[1] + 1, box[2] + 1, box[3] - 1.7]),  # drawn by hand
        lambda i, box: dict(
            segmentation=[corners([box[0] + 1, box[1] + 1, box[2] // 3, box[3] // 3])]
        ),  # partly hidden
        lambda i, box: dict(segmentation=[corners([*box[:2], 4, 4]), corners([*box[:2], *box[2:]])]),
        # the box is cut at the image's border, the polygon is not, and the other way round
        lambda i, box: dict(bbox=[66, 8 + i, 30, 30], segmentation=[corners([66, 8 + i, 90, 30])], area=900),
        lambda i, box: dict(segmentation=[corners([66, 8 + i, 30, 30])], bbox=[66, 8 + i, 90, 30], area=900),
    ],
)
def test_masks_that_are_sound(write, own_detection, check, make):
    write(make)
    assert {finding.kind for finding in check(own_detection).findings} <= {'boxes-leaving'}


def test_annotations_without_masks(rewrite, own_boxes, check):
    rewrite(without('annotations', 'segmentation'))
    assert not len(check(own_boxes).findings)


def test_one_partly_hidden_object_is_not_taken_for_a_scale(rewrite, own_detection, check):
    def damage(content):
        content['annotations'] = content['annotations'][:1]
        content['annotations'][0].update(bbox=[0, 0, 60, 40], area=2400, segmentation=[corners([0, 0, 24, 16])])

    rewrite(damage)
    assert not [finding for finding in check(own_detection).findings if finding.kind.startswith('masks')]
