import pytest

from mmconvnext.datasets.findings import Severity
from tests.datasets.coco.conftest import without


def repeat(**fields):
    """Adds a copy of the first annotation under an id of its own."""
    return lambda content: content['annotations'].append(dict(content['annotations'][0], id=99) | fields)


@pytest.mark.parametrize('masks', [True, False])
def test_object_that_is_annotated_twice(rewrite, own_detection, own_boxes, check, masks):
    rewrite(repeat())
    if not masks:
        rewrite(without('annotations', 'segmentation'))
    (finding,) = check(own_detection if masks else own_boxes).findings
    assert (finding.kind, finding.count, finding.total) == ('objects-repeated', 1, 5)
    assert finding.severity is Severity.CHANGES
    assert 'annotations[4] (id 99' in finding.examples[0]
    assert 'annotations[0]' in finding.examples[0]


@pytest.mark.parametrize(
    'fields',
    [
        dict(category_id=3),
        dict(bbox=[10, 8, 20, 31]),
        dict(image_id=1, bbox=[11, 8, 20, 30]),
        dict(iscrowd=1),
        dict(segmentation=[[10, 8, 30, 8, 30, 38]]),  # another part of the same box
    ],
)
def test_objects_that_share_something(rewrite, own_detection, check, fields):
    rewrite(repeat(**fields))
    assert not check(own_detection).findings.of('objects-repeated')
