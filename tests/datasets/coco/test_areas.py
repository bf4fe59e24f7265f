import pytest

from mmconvnext.datasets.findings import Severity
from tests.datasets.coco.conftest import TRAIN, VAL, corners, without


@pytest.fixture
def areas(rewrite, own_detection, own_boxes, check):
    """Checks a file of twelve objects whose areas are a function of the box's; returns what was found of them."""

    def run(area, name=VAL, masks=True, **fields):
        def damage(content):
            sample = content['annotations'][0]
            boxes = [[10 + i, 8, 20 + 2 * i, 30 + 2 * i] for i in range(12)]
            content['annotations'] = [
                dict(sample, id=i + 1, bbox=box, area=area(box[2] * box[3]), segmentation=[corners(box)], **fields)
                for i, box in enumerate(boxes)
            ]

        rewrite(damage, name)
        if not masks:
            rewrite(without('annotations', 'segmentation'), name)
        return check(own_detection if masks else own_boxes).findings.of('areas')

    return run


@pytest.mark.parametrize('masks', [True, False])
@pytest.mark.parametrize(
    ('area', 'said'),
    [
        (lambda true: true * 100, '100 times'),
        (lambda true: true / 4, '0.25 times'),
        (lambda true: 1, 'All are 1.'),
        (lambda true: true / 64 / 96, 'fractions'),
    ],
)
def test_areas_in_other_units_are_evaluated_wrong(areas, area, said, masks):
    (finding,) = areas(area, masks=masks)
    assert (finding.count, finding.total, finding.severity) == (12, 12, Severity.CHANGES)
    assert said in finding.remedy
    (finding,) = areas(area, name=TRAIN, masks=masks)[-1:]
    assert finding.severity is Severity.HARMLESS


@pytest.mark.parametrize('masks', [True, False])
@pytest.mark.parametrize('area', [lambda true: true, lambda true: true * 0.7, lambda true: true * 1.1])
def test_areas_that_are_sound(areas, area, masks):
    assert not areas(area, masks=masks)


def test_area_of_the_box_beside_a_thin_mask(rewrite, own_detection, check):
    def damage(content):
        for annotation in content['annotations']:
            x, y, w, h = annotation['bbox']
            annotation['segmentation'] = [[x, y, x + 1, y, x + w, y + h, x + w - 1, y + h]]

    rewrite(damage, VAL)
    assert not len(check(own_detection).findings)


def test_areas_of_crowds_are_not_compared(rewrite, own_detection, check):
    rewrite(lambda content: content['annotations'][0].update(iscrowd=1, area=60000), VAL)
    assert [finding.kind for finding in check(own_detection).findings] == ['crowds']
