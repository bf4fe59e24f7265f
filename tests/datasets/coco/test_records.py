"""What refuses a record, with its index, the field and its value; and what is counted."""

import pytest
from mmengine.registry import DATASETS
from PIL import Image

from mmconvnext.datasets.checks import check_data
from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.findings import Severity
from tests.datasets.coco.conftest import TRAIN, VAL, every, run_lengths

POLYGON = [10, 8, 30, 8, 30, 38, 10, 38]


def one(key, index, **fields):
    """Sets fields of one record."""
    return lambda content: content[key][index].update(fields)


@pytest.mark.parametrize('value', [-1, 0, '96', None, 96.5, float('nan'), float('inf'), True, [96]])
def test_size_of_an_image(rewrite, own_detection, refused, value):
    path = rewrite(one('images', 1, width=value))
    finding = refused(own_detection, 'image-size')
    assert (finding.file, finding.count, finding.total) == (str(path), 1, 2)
    assert finding.examples == [f'images[1] (id 1, train_1.jpg) has width {value!r}']


@pytest.mark.parametrize('value', ['600', None, float('nan'), float('-inf'), False, []])
def test_area(rewrite, own_detection, refused, value):
    rewrite(one('annotations', 3, area=value))
    finding = refused(own_detection, 'area')
    assert (finding.count, finding.total) == (1, 4)
    assert finding.examples == [f'annotations[3] (id 4, image_id 1) has area {value!r}']


@pytest.mark.parametrize('value', ['0', '1', 2, 'no', [0]])
def test_iscrowd(rewrite, own_detection, refused, value):
    rewrite(one('annotations', 3, iscrowd=value))
    assert refused(own_detection, 'iscrowd').examples == [f'annotations[3] (id 4, image_id 1) has iscrowd {value!r}']


@pytest.mark.parametrize('key', ['image_id', 'category_id'])
@pytest.mark.parametrize('count', [1, 4])
def test_ids_that_are_text_in_one_place_and_numbers_in_another(rewrite, own_detection, refused, key, count):
    def damage(content):
        for annotation in content['annotations'][:count]:
            annotation[key] = str(annotation[key])

    rewrite(damage)
    finding = refused(own_detection, f'{key}-of-another-kind')
    assert finding.count == count
    assert 'text' in finding.what
    assert 'a number' in finding.what
    assert 'annotations[0]' in finding.examples[0]


@pytest.mark.parametrize('key', ['images', 'categories'])
def test_ids_of_both_kinds(rewrite, own_detection, refused, key):
    field = {'images': 'image_id', 'categories': 'category_id'}[key]

    def damage(content):
        old = content[key][1]['id']
        content[key][1]['id'] = 'one'
        for annotation in content['annotations']:
            annotation[field] = 'one' if annotation[field] == old else annotation[field]

    rewrite(damage)
    finding = refused(own_detection, f'{key}-ids-mixed')
    assert f"{key}[1] has id 'one', text" in finding.what
    assert f'{key}[0] has id' in finding.what


def test_ids_that_are_all_text_are_evaluated_right(rewrite, own_detection, mended, perfect_scores):
    def damage(content):
        for key, fields in (
            ('images', ['id']),
            ('categories', ['id']),
            ('annotations', ['id', 'image_id', 'category_id']),
        ):
            for record in content[key]:
                record.update({field: f'no. {record[field]}' for field in fields})

    rewrite(damage, VAL)
    assert list(mended(own_detection)) == ['annotation-ids']
    assert perfect_scores(own_detection) == (1.0, 1.0)


@pytest.mark.parametrize('value', [None, [1], {}, True])
def test_ids_that_are_none(rewrite, own_detection, check, value):
    for key, field in (('annotations', 'image_id'), ('annotations', 'category_id'), ('images', 'id')):
        path = rewrite(one(key, 1, **{field: value}))
        with pytest.raises(DataError) as error:
            check(own_detection)
        assert f'{key}[1]' in error.value.facts['findings'][0].examples[0]
        rewrite(one(key, 1, **{field: 3 if field == 'category_id' else 0}))
        assert path.is_file()


def test_an_id_that_is_none_where_a_field_is_missing(rewrite, own_detection, refused):
    rewrite(lambda content: content['annotations'].append(dict(image_id=[1], category_id=7)))
    assert 'annotations[4]' in refused(own_detection, 'annotations-without-field').examples[0]


def test_faults_of_annotations_that_nothing_reads(rewrite, own_detection, check):
    def damage(content):
        content['annotations'].append(dict(id=9, image_id=77, category_id=55, bbox=None, area=None))

    rewrite(damage)
    check(own_detection)


@pytest.mark.parametrize(
    'segmentation',
    [POLYGON, [[]], [POLYGON[:4]], [POLYGON[:7]], dict(size=[64, 96], counts=[100, 9000])],
)
@pytest.mark.parametrize('name', [TRAIN, VAL])
def test_segmentation_of_one(rewrite, own_detection, refused, segmentation, name):
    path = rewrite(one('annotations', 2, segmentation=segmentation), name)
    finding = refused(own_detection, 'segmentation')
    assert (finding.file, finding.count) == (str(path), 1)
    assert 'annotations[2] (id 3' in finding.examples[0]


@pytest.mark.parametrize('size', [[96, 64], [32, 48]])
def test_run_lengths_of_another_size(rewrite, own_detection, refused, size):
    rewrite(one('annotations', 2, segmentation=dict(size=size, counts=[10, size[0] * size[1] - 10])))
    finding = refused(own_detection, 'mask-size')
    assert finding.examples == [f'annotations[2] (id 3, image_id 1) has size {size}, its image [64, 96]']
    assert ('swapped' in finding.remedy) == (size == [96, 64])


def test_run_lengths_without_poly2mask(rewrite, own_detection, check, refused):
    own_detection.train_dataloader.dataset.pipeline[1].poly2mask = False
    masks = run_lengths([10, 8, 20, 30])
    rewrite(one('annotations', 2, segmentation=masks))
    (finding,) = check(own_detection).findings
    assert (finding.kind, finding.severity, finding.count) == ('run-lengths-ignored', Severity.CHANGES, 1)
    rewrite(every('annotations', segmentation=masks))
    refused(own_detection, 'run-lengths-ignored')


def test_crowds(rewrite, own_detection, check, refused):
    crowd = dict(iscrowd=1)
    for count, severity in ((1, Severity.LEFT_OUT), (3, Severity.CHANGES)):
        rewrite(lambda content, count=count: [a.update(crowd) for a in content['annotations'][:count]] and None)
        (finding,) = check(own_detection).findings
        assert (finding.kind, finding.count, finding.total, finding.severity) == ('crowds', count, 4, severity)
    rewrite(every('annotations', **crowd))
    assert 'iscrowd=1' in refused(own_detection, 'crowds').remedy


def test_images_below_the_least_size_and_without_annotations(rewrite, own_detection, check, own_coco):
    rewrite(one('images', 0, height=30))
    Image.open(own_coco / 'train2017/train_0.jpg').crop((0, 0, 96, 30)).save(own_coco / 'train2017/small.jpg')
    rewrite(one('images', 0, file_name='small.jpg'))
    rewrite(lambda c: c['images'].append(dict(c['images'][1], id=5)))
    found = {finding.kind: (finding.count, finding.total) for finding in check(own_detection).findings}
    assert found.pop('images-of-one-file') == (1, 2)
    assert found.pop('boxes-leaving') if 'boxes-leaving' in found else True
    assert found == {'images-small': (1, 3), 'images-empty': (1, 3)}
    with DATASETS.switch_scope_and_registry('mmdet') as registry:
        assert len(registry.build(dict(own_detection.train_dataloader.dataset, pipeline=[]))) == 1


def test_all_faults_are_said_at_once(rewrite, own_detection, check):
    rewrite(one('images', 0, width=None))
    rewrite(every('annotations', area='1'))
    rewrite(one('annotations', 1, segmentation=POLYGON), VAL)
    with pytest.raises(DataError) as error:
        check(own_detection)
    assert {finding.kind for finding in error.value.facts['findings']} == {'image-size', 'area', 'segmentation'}


def test_a_file_that_two_datasets_read_is_counted_once(rewrite, own_detection, check, own_coco):
    rewrite(every('annotations', id=0))
    own_detection.val_dataloader.dataset.update(ann_file=TRAIN, data_prefix=dict(img='train2017/'))
    own_detection.val_evaluator.ann_file = str(own_coco / TRAIN)
    assert [finding.count for finding in check(own_detection).findings.of('annotation-id-0')] == [4]


@pytest.mark.parametrize('named', [lambda name: name, lambda name: name.split('.')[0]])
def test_file_names_as_image_id(rewrite, own_detection, refused, named):
    def damage(content):
        for annotation in content['annotations'][1:]:
            annotation['image_id'] = named(content['images'][annotation['image_id']]['file_name'])

    rewrite(damage)
    finding = refused(own_detection, 'image_id-is-name')
    assert (finding.count, finding.total) == (3, 4)
    assert f'{named("train_0.jpg")!r}, and images[0] (train_0.jpg) has id 0' in finding.examples[0]


def test_images_of_lvis(rewrite, own_detection, refused):
    def damage(content):
        for image in content['images']:
            image['coco_url'] = f'http://images.cocodataset.org/train2017/{image.pop("file_name")}'

    rewrite(damage)
    assert refused(own_detection, 'images-of-lvis').count == 2


def test_annotations_of_an_image_that_lacks_a_field(rewrite, own_detection, refused):
    rewrite(lambda content: content['images'][1].pop('height') and None)
    findings = check_data(own_detection, ('train_dataloader',), segmentation=False).findings
    assert [finding.kind for finding in findings] == ['images-without-field']
