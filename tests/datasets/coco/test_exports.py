"""Small files with the quirks of the exports of annotation tools, each as both splits: they are evaluated right.

Each has the images train_0.jpg and train_1.jpg (val_...), 96x64, with two objects of the classes cat and traffic light.
"""

import json

import pytest

from tests.datasets.coco.conftest import corners, run_lengths
from tests.datasets.conftest import CLASSES

BOXES = ([10, 8, 20, 30], [40, 8, 20, 30])
SIZE = dict(height=64, width=96)


def roboflow(split):
    """The project is category 0, with the name of a class; ids start at 0."""
    categories = [dict(id=0, name='cat', supercategory='none')]
    categories += [dict(id=i, name=name, supercategory='cat') for i, name in enumerate(CLASSES, 1)]
    images = [
        dict(id=i, license=1, file_name=f'{split}_{i}.jpg', date_captured='2026-01-01T10:00:00+00:00', **SIZE)
        | dict(extra=dict(name=f'{split}_{i}.jpg'))
        for i in range(2)
    ]
    annotations = [
        dict(id=2 * i + j, image_id=i, category_id=j + 1, bbox=box, area=600, segmentation=[corners(box)], iscrowd=0)
        for i in range(2)
        for j, box in enumerate(BOXES)
    ]
    info = dict(year='2026', version='1', contributor='', url='https://public.roboflow.com/', date_created='2026')
    licenses = [dict(id=1, url='https://creativecommons.org/licenses/by/4.0/', name='CC BY 4.0')]
    return dict(info=info, licenses=licenses, categories=categories, images=images, annotations=annotations)


def cvat(split):
    """Areas with a fraction, attributes, and the masks of the brush in run lengths as crowds."""
    images = [
        dict(id=i + 1, file_name=f'{split}_{i}.jpg', license=0, flickr_url='', coco_url='', date_captured=0, **SIZE)
        for i in range(2)
    ]
    annotations = [
        dict(id=2 * i + j + 1, image_id=i + 1, category_id=j + 1, bbox=[float(v) for v in box], area=600.0)
        | dict(segmentation=[corners(box)], iscrowd=0, attributes=dict(occluded=False, rotation=0.0))
        for i in range(2)
        for j, box in enumerate(BOXES)
    ]
    annotations[3] |= dict(segmentation=run_lengths(BOXES[1]), iscrowd=1)
    categories = [dict(id=i, name=name, supercategory='') for i, name in enumerate(CLASSES, 1)]
    info = dict(contributor='', date_created='', description='', url='', version='', year='')
    licenses = [dict(name='', id=0, url='')]
    return dict(licenses=licenses, info=info, categories=categories, images=images, annotations=annotations)


def via(split, image_id=int):
    """A category written again for each region, ids from 0; VIA 2 writes polygons flat and image_id as text."""
    images = [
        dict(id=i, file_name=f'{split}_{i}.jpg', license=0, flickr_url='', coco_url='', date_captured='', **SIZE)
        for i in range(2)
    ]
    annotations = [
        dict(id=2 * i + j, image_id=image_id(i), category_id=j + 1, bbox=box, area=600, iscrowd=0)
        | dict(segmentation=[corners(box)] if image_id is int else corners(box))
        for i in range(2)
        for j, box in enumerate(BOXES)
    ]
    categories = [dict(supercategory='object', id=i, name=name) for i, name in enumerate(CLASSES, 1)] * 2
    info = dict(year=2026, version='1.0', description='VIA project exported to COCO format')
    return dict(info=info, images=images, annotations=annotations, licenses=[], categories=categories)


def label_studio(split):
    """Categories and annotations from 0, an ``ignore``, names with backslashes or percent-encoded."""
    images = [dict(id=i, file_name=f'.\\{split}_{i}.jpg' if i else f'{split}%5F{i}.jpg', **SIZE) for i in range(2)]
    annotations = [
        dict(id=2 * i + j, image_id=i, category_id=j, segmentation=[corners(box)], bbox=box, ignore=0, iscrowd=0)
        | dict(area=600)
        for i in range(2)
        for j, box in enumerate(BOXES)
    ]
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES)]
    info = dict(year=2026, version='1.0', contributor='Label Studio')
    return dict(images=images, categories=categories, annotations=annotations, info=info)


def supervision(split):
    """No info; boxes and areas with a fraction; images from 1, categories from 0."""
    content = cvat(split)
    for annotation in content['annotations']:
        annotation['category_id'] -= 1
        annotation.pop('attributes')
    for category in content['categories']:
        category.update(id=category['id'] - 1, supercategory='common-objects')
    return {key: content[key] for key in ('categories', 'images', 'annotations')} | dict(info={}, licenses=[])


EXPORTS = {
    roboflow: {'annotation-id-0': 1, 'categories-unused': 1},
    cvat: {'crowds': 1},
    via: {'annotation-id-0': 1, 'categories-repeated': 2},
    label_studio: {'annotation-id-0': 1, 'file-names-percent': 1, 'file-names-backslash': 1},
    supervision: {'crowds': 1},
}


@pytest.fixture
def write(own_coco):
    def run(export):
        for split in ('train', 'val'):
            (own_coco / f'annotations/instances_{split}2017.json').write_text(json.dumps(export(split)))

    return run


@pytest.mark.parametrize('export', EXPORTS, ids=lambda export: export.__name__)
def test_export_is_evaluated_right(export, write, own_detection, mended, perfect_scores):
    write(export)
    assert mended(own_detection) == EXPORTS[export]
    assert perfect_scores(own_detection) == (1.0, 1.0)


def test_via_2_is_refused_with_what_is_wrong(write, own_detection, complaint):
    write(lambda split: via(split, image_id=str))
    complaint(own_detection, "annotations[0] has image_id '0', images[0] has id 0", 'text', 'a number')
    write(lambda split: via(split) | dict(images=[dict(i, width=-1, height=-1) for i in via(split)['images']]))
    complaint(own_detection, 'images[0] (id 0, train_0.jpg) has width -1 and height -1')
