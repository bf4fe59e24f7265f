"""Boxes of files without masks."""

import pytest

from mmconvnext.datasets.findings import Severity
from tests.datasets.coco.conftest import without


@pytest.fixture
def boxes(rewrite, own_boxes, check):
    """Checks the toy file with these boxes, two a image, and no masks; returns what was found of them."""

    def run(*given):
        rewrite(without('annotations', 'segmentation'))
        rewrite(
            lambda c: [a.update(bbox=box, area=box[2] * box[3]) for a, box in zip(c['annotations'], given)] and None
        )
        (finding,) = check(own_boxes).findings
        assert finding.kind == 'boxes-leaving'
        return finding

    return run


def test_boxes_as_corners(boxes):
    finding = boxes(*([48, 10, 76, 46 + i] for i in range(4)))
    assert (finding.count, finding.severity) == (4, Severity.CHANGES)
    assert '[x1, y1, x2, y2]' in finding.remedy


def test_boxes_as_centers(boxes):
    # As corners, the first does not fit. Half of a sound file's boxes would not fit as centers
    finding = boxes([48, 32, 40, 20], [70, 50, 50, 20], [75, 50, 30, 26], [80, 52, 30, 20])
    assert (finding.count, finding.severity) == (3, Severity.CHANGES)
    assert '[center x, center y, width, height]' in finding.remedy


def test_few_boxes_that_leave_their_image(boxes):
    finding = boxes([80, 10, 20, 30], [76.5, 10, 20, 30], [10, 8, 20, 30], [40, 8, 20, 30])  # the second by rounding
    assert (finding.count, finding.severity) == (1, Severity.HARMLESS)
