import json
import os

import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS
from PIL import Image

from mmconvnext.config.data_root import set_data_root
from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.findings import Severity
from tests.datasets.coco.conftest import TRAIN, VAL, every, without
from tests.datasets.conftest import CLASSES


def test_sound_data_passes_and_is_what_the_dataset_reads(own_detection, check):
    check(own_detection)
    node = own_detection.train_dataloader.dataset
    with DATASETS.switch_scope_and_registry('mmdet') as registry:
        dataset = registry.build(dict(node, pipeline=[]))
    assert len(dataset) == 2
    assert [i['bbox_label'] for i in dataset[0]['instances']] == [0, 1]


@pytest.mark.parametrize('cut', [0.2, 0.5, 0.9, 0.99])
def test_truncated_file(own_coco, own_detection, complaint, cut):
    path = own_coco / TRAIN
    text = path.read_text()
    path.write_text(text[: int(len(text) * cut)])
    complaint(own_detection, path, 'is not JSON', 'ends in the middle')


def test_empty_file(own_coco, own_detection, complaint):
    (own_coco / TRAIN).write_text('')
    complaint(own_detection, own_coco / TRAIN, 'the file is empty')


def test_other_file(own_coco, own_detection, complaint):
    (own_coco / TRAIN).write_text('well done\n')
    message = complaint(own_detection, 'is not JSON', 'line 1, column 1', 'well done')
    assert 'ends in the middle' not in message


def test_binary_file(own_coco, own_detection, complaint):
    (own_coco / TRAIN).write_bytes(b'ab\x03\x04\xff\xfe')
    complaint(own_detection, own_coco / TRAIN, 'is not JSON', 'byte 4 is not UTF-8')


def test_json_of_another_kind(rewrite, own_detection, refused):
    path = rewrite(lambda content: content['categories'])
    finding = refused(own_detection, 'unreadable')
    assert finding.file == str(path)
    assert 'JSON list' in finding.what


@pytest.mark.parametrize('key', ['images', 'annotations', 'categories'])
@pytest.mark.parametrize('value', [{}, [], None, 'absent'])
def test_missing_or_empty_list(rewrite, own_detection, refused, key, value):
    def damage(content):
        content[key] = value
        return content if value != 'absent' else {k: v for k, v in content.items() if k != key}

    path = rewrite(damage)
    finding = refused(own_detection, 'unreadable')
    assert finding.file == str(path)
    assert repr(key) in finding.what
    # COCO's own test set is such a file
    assert ('format_only=True' in finding.remedy) == (key == 'annotations' and value == 'absent')


def test_two_lists_of_one_key(own_coco, own_detection, refused):
    path = own_coco / TRAIN
    path.write_text(path.read_text()[:-1] + ', "images": []}')
    assert "'images' twice" in refused(own_detection, 'unreadable').what


@pytest.mark.parametrize(
    ('key', 'field'), [('images', 'height'), ('images', 'file_name'), ('annotations', 'area'), ('annotations', 'bbox')]
)
def test_record_without_a_field(rewrite, own_detection, check, key, field):
    path = rewrite(without(key, field, slice(1, 2)))
    with pytest.raises(DataError) as error:
        check(own_detection)
    finding = error.value.facts['findings'][0]
    assert (finding.kind, finding.file, finding.count) == (f'{key}-without-field', str(path), 1)
    assert f'{key}[1]' in finding.examples[0]
    assert field in finding.examples[0]


def test_record_of_another_kind(rewrite, own_detection, refused):
    rewrite(lambda content: content['categories'].append('dog'))
    assert "categories[2] is 'dog'" in refused(own_detection, 'categories-not-objects').examples[0]


def test_repeated_ids_of_different_images_and_categories(rewrite, own_detection, refused):
    rewrite(lambda content: content['images'].append({**content['images'][0], 'file_name': 'train_1.jpg', 'id': 1}))
    rewrite(lambda content: content['images'].append({**content['images'][0], 'id': 1}))
    assert 'images[1] and images[3] have id 1' in str(refused(own_detection, 'image-ids-repeated'))


def test_annotations_of_unlisted_images_are_left_out_and_said(rewrite, own_detection, check):
    path = rewrite(lambda content: content['images'].pop() and None)
    (finding,) = check(own_detection).findings
    assert (finding.kind, finding.count, finding.total) == ('annotations-of-unlisted-images', 2, 4)
    assert (finding.severity, finding.file) == (Severity.LEFT_OUT, str(path))


def test_annotation_of_an_unknown_category(rewrite, own_detection, refused):
    rewrite(every('annotations', category_id=99))
    finding = refused(own_detection, 'category_id-unlisted')
    assert (finding.count, finding.total) == (4, 4)
    assert 'annotations[0] has category_id 99' in finding.examples[0]
    assert '7, 3' in finding.remedy


def test_classes_of_coco_in_place_of_ones_own(root, own_coco, complaint):
    cfg = Config.fromfile(root / 'configs/detection/cascade_convnext_t_3x.py')
    set_data_root(cfg, own_coco)
    complaint(
        cfg,
        own_coco / TRAIN,
        'train_dataloader.dataset',
        'not in the file: person, bicycle',
        'categories of the file: cat, traffic light',
        f'metainfo = dict(classes={CLASSES!r})',
        'val_dataloader = dict(dataset=dict(metainfo=metainfo))',
        'model.roi_head.bbox_head.0.num_classes=2 model.roi_head.bbox_head.1.num_classes=2',
        'model.roi_head.mask_head.num_classes=2',
    )


def test_lines_of_the_message_are_the_remedy(root, own_coco, complaint, check, tmp_path):
    cfg = Config.fromfile(root / 'configs/detection/cascade_convnext_t_3x.py')
    set_data_root(cfg, own_coco)
    _, _, remedy = complaint(cfg).partition('a complete one):\n')
    lines, _, options = remedy.partition('and train it with\n')
    path = tmp_path / 'own.py'
    path.write_text('\n'.join(line.strip() for line in lines.splitlines()))
    own = Config.fromfile(path)
    own.merge_from_dict({k: int(v) for k, v in (o.split('=') for o in options.splitlines()[0].split()[1:])})
    set_data_root(own, own_coco)
    check(own)


def test_some_classes_are_not_in_the_file(rewrite, own_detection, complaint):
    # MMDetection would give the second class the number of the first
    rewrite(lambda content: content['categories'][0].update(name='Cat'))
    complaint(own_detection, 'not in the file: cat\n', 'of the file: Cat, traffic light')


@pytest.mark.parametrize('first', [('cat', 'traffic light'), ('traffic light', 'cat')])
def test_one_file_that_is_read_with_the_classes_in_two_orders(own_detection, refused, first):
    """A copy in the order of the one would number the classes of the other wrongly, whichever is checked first."""
    node = own_detection.train_dataloader.dataset
    nodes = [node.to_dict() | dict(metainfo=dict(classes=classes)) for classes in (first, first[::-1])]
    own_detection.train_dataloader.dataset = dict(type='ConcatDataset', datasets=nodes)
    refused(own_detection, 'classes-order')


def test_names_of_categories_that_are_both_used(rewrite, own_detection, refused):
    def damage(content):
        content['categories'].append({'id': 9, 'name': 'cat'})
        content['annotations'][2]['category_id'] = 9

    rewrite(damage)
    (example,) = refused(own_detection, 'category-names-repeated').examples
    assert 'categories[0] (id 7, 1 annotations)' in example
    assert 'categories[2] (id 9, 1 annotations)' in example


def test_more_categories_than_classes_are_fine(rewrite, own_detection, check):
    rewrite(lambda content: content['categories'].insert(0, {'id': 0, 'name': 'animals'}))
    check(own_detection)


def test_no_annotation_of_the_classes(rewrite, own_detection, refused):
    def damage(content):
        content['categories'].append({'id': 9, 'name': 'dog'})
        every('annotations', category_id=9)(content)

    own_detection.train_dataloader.dataset.filter_cfg.filter_empty_gt = False
    rewrite(damage)
    assert 'of 4, 4 are of categories' in refused(own_detection, 'nothing-left').what


@pytest.mark.parametrize(
    ('fields', 'kind'),
    [
        ({'ignore': 1}, 'annotations-ignored'),
        ({'area': 0}, 'annotations-area-0'),
        ({'bbox': [0.1, 0.1, 0.5, 0.5]}, 'annotations-below-pixel'),
        ({'bbox': [500, 10, 20, 20]}, 'annotations-outside'),
    ],
)
@pytest.mark.parametrize('count', [3, 4])
def test_annotations_left_out(rewrite, own_detection, check, refused, fields, kind, count):
    rewrite(lambda content: [record.update(fields) for record in content['annotations'][:count]] and None)
    if count == 4:
        assert 'of 4, 4 ' in refused(own_detection, 'nothing-left').what
    else:
        (finding,) = check(own_detection).findings
        assert (finding.kind, finding.count, finding.total) == (kind, 3, 4)
        assert finding.severity is Severity.CHANGES  # it is most of them
    # The same is what MMDetection keeps
    with DATASETS.switch_scope_and_registry('mmdet') as registry:
        dataset = registry.build(dict(own_detection.train_dataloader.dataset, pipeline=[]))
    assert sum(len(sample['instances']) for sample in dataset) == 4 - count


def test_boxes_in_fractions_of_the_image(rewrite, own_detection, refused):
    rewrite(every('annotations', bbox=[0.1, 0.2, 0.5, 0.5], area=0.25))
    assert 'fractions' in refused(own_detection, 'nothing-left').remedy


@pytest.mark.parametrize('box', [[1, 2, 3], None, ['1', '2', '3', '4'], {'x': 1}, [1, 2, float('nan'), 4], [True] * 4])
def test_box_of_another_form(rewrite, own_detection, refused, box):
    rewrite(lambda content: content['annotations'][3].update(bbox=box))
    finding = refused(own_detection, 'box')
    assert finding.count == 1
    assert 'annotations[3] (id 4' in finding.examples[0]
    assert f'bbox {box!r}' in finding.examples[0]


def test_every_image_below_the_least_size(rewrite, own_coco, own_detection, complaint, check):
    for path in (own_coco / 'train2017').iterdir():
        Image.open(path).resize((31, 30)).save(path)
    rewrite(every('images', height=30, width=31))
    rewrite(every('annotations', bbox=[2, 2, 20, 20]))
    complaint(own_detection, 'below 32 pixels', '31x30', 'train_dataloader.dataset.filter_cfg.min_size=1')
    own_detection.train_dataloader.dataset.filter_cfg.min_size = 1
    check(own_detection)


@pytest.mark.parametrize('name', [TRAIN, VAL])
def test_boxes_only(rewrite, own_coco, own_detection, own_boxes, complaint, check, name):
    rewrite(without('annotations', 'segmentation'), name)
    complaint(own_detection, own_coco / name, 'no segmentation', 'configs/detection/faster_rcnn_convnext_t_3x.py')
    check(own_boxes)


def test_configs_named_in_messages_exist(root):
    from mmconvnext.datasets.coco.masks import WITHOUT_MASKS

    for name in WITHOUT_MASKS.split(' or '):
        assert (root / 'configs/detection' / os.path.basename(name)).is_file()


def test_some_annotations_without_a_mask(rewrite, own_detection, complaint):
    rewrite(lambda content: content['annotations'][2].update(segmentation=[]))
    complaint(own_detection, '1 of 4 annotations have no segmentation', 'annotations[2]')


def test_images_that_are_not_there(own_coco, own_detection, complaint):
    folder = own_coco / 'train2017'
    (folder / 'train_1.jpg').rename(folder / 'train_x.jpg')
    complaint(own_detection, '1 of 2 images', folder / 'train_1.jpg', 'holds train_0.jpg, train_x.jpg.')


def test_empty_image_folder(own_coco, own_detection, complaint):
    for path in (own_coco / 'val2017').iterdir():
        path.unlink()
    complaint(own_detection, '2 of 2 images', 'val2017/ is empty')


def test_images_in_folders_of_their_own(own_coco, rewrite, own_detection, check, complaint):
    (own_coco / 'train2017/a').mkdir()
    (own_coco / 'train2017/train_0.jpg').rename(own_coco / 'train2017/a/train_0.jpg')
    rewrite(lambda content: content['images'][0].update(file_name='a/train_0.jpg'))
    check(own_detection)
    rewrite(lambda content: content['images'][0].update(file_name='b/train_0.jpg'))
    complaint(own_detection, own_coco / 'train2017/b/train_0.jpg')


def test_evaluator_reads_another_file(own_coco, own_detection, complaint, check):
    own_detection.val_evaluator.ann_file = str(own_coco / TRAIN)
    check(own_detection)  # the toy splits have the same ids
    content = json.loads((own_coco / TRAIN).read_text())
    content['images'].append({'id': 77, 'file_name': 'train_0.jpg', 'height': 64, 'width': 96})
    (own_coco / TRAIN).write_text(json.dumps(content))
    complaint(own_detection, 'is val_evaluator.ann_file', own_coco / VAL, 'lists other images')


def test_evaluator_reads_no_file(own_coco, own_detection, complaint):
    own_detection.val_evaluator.ann_file = str(own_coco / 'annotations/other.json')
    complaint(own_detection, own_coco / 'annotations/other.json', '(val_evaluator.ann_file)')


def test_results_without_truth_need_no_annotations(own_coco, rewrite, own_detection, check, complaint):
    rewrite(lambda content: {k: v for k, v in content.items() if k != 'annotations'}, VAL)
    complaint(own_detection, "has no 'annotations'")
    own_detection.val_evaluator.update(format_only=True, outfile_prefix=str(own_coco / 'out'))
    check(own_detection)


def test_file_names_that_are_whole_paths(own_coco, rewrite, own_detection, check, refused):
    rewrite(lambda content: [i.update(file_name=f'/elsewhere/{i["file_name"]}') for i in content['images']] and None)
    (finding,) = check(own_detection).findings
    assert (finding.kind, finding.severity, finding.count) == ('file-names-whole-paths', Severity.MENDED, 2)
    (own_coco / 'train2017/train_1.jpg').unlink()
    finding = refused(own_detection, 'images-missing')
    assert finding.examples == ['/elsewhere/train_1.jpg']
    assert 'absolute path' in finding.remedy


def test_folder_that_is_in_file_name_and_data_prefix(rewrite, own_detection, refused):
    rewrite(lambda content: [i.update(file_name=f'train2017/{i["file_name"]}') for i in content['images']] and None)
    assert 'train_0.jpg is there' in refused(own_detection, 'images-missing').remedy
