import json
import shutil

import pytest
from mmengine.config import Config

from mmconvnext.config.data_root import set_data_root
from mmconvnext.datasets.checks import check_data
from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.findings import Severity

LOADERS = ('train_dataloader', 'val_dataloader')


def test_missing_data_says_where_what_and_how_to_do_without(root, tmp_path):
    cfg = Config.fromfile(root / 'configs/detection/mask_rcnn_convnext_t_3x.py')
    set_data_root(cfg, tmp_path)
    with pytest.raises(DataError) as error:
        check_data(cfg, LOADERS, segmentation=False)
    message = str(error.value)
    for expected in (
        str(tmp_path / 'train2017'),
        str(tmp_path / 'annotations/instances_val2017.json'),
        'train2017/*.jpg',
        '--mini',
    ):
        assert expected in message


def test_only_what_is_missing_is_named(own_masks, own_segmentation, complaint):
    shutil.rmtree(own_masks / 'annotations/validation')
    message = complaint(
        own_segmentation, own_masks / 'annotations/validation', 'val_dataloader.dataset.data_prefix.seg'
    )
    assert str(own_masks / 'images/training') not in message


@pytest.mark.parametrize(
    'wrap',
    [
        lambda node: dict(type='RepeatDataset', times=2, dataset=node),
        lambda node: dict(type='ClassBalancedDataset', oversample_thr=0.1, dataset=node),
        lambda node: dict(type='ConcatDataset', datasets=[node]),
        lambda node: dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[node])),
    ],
)
def test_wrappers_are_looked_into(own_coco, own_detection, check, complaint, wrap):
    own_detection.train_dataloader.dataset = wrap(own_detection.train_dataloader.dataset)
    check(own_detection)
    (own_coco / 'train2017/train_1.jpg').unlink()
    complaint(own_detection, own_coco / 'train2017/train_1.jpg', 'dataset.dataset')


def test_remedy_within_wrappers(root, own_coco, own_detection, complaint):
    node = own_detection.train_dataloader.dataset
    node.pop('metainfo')
    own_detection.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=node)
    complaint(own_detection, 'train_dataloader = dict(dataset=dict(dataset=dict(metainfo=metainfo)))')
    own_detection.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[node, node])
    complaint(own_detection, '(and metainfo=metainfo in train_dataloader.dataset.datasets.1)')


def test_remote_data_is_not_claimed_to_be_missing(root, check):
    cfg = Config.fromfile(root / 'configs/detection/mask_rcnn_convnext_t_3x.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.update(
            data_root='', ann_file='s3://bucket/train.json', data_prefix=dict(img='s3://bucket/images')
        )
    cfg.val_evaluator.ann_file = 's3://bucket/val.json'
    check(cfg)
    cfg.model.roi_head.bbox_head.num_classes = 3  # what needs no data is checked
    with pytest.raises(DataError, match=r'bbox_head\.num_classes is 3'):
        check(cfg)


def test_backend_that_is_not_installed(own_detection, complaint):
    own_detection.train_dataloader.dataset.data_root = 's3://bucket/coco/'
    complaint(own_detection, 'train_dataloader.dataset cannot be built: Please install petrel_client')


def test_remote_images_of_local_annotations(own_coco, own_detection, check, complaint):
    (own_coco / 'train2017/train_1.jpg').unlink()
    complaint(own_detection, 'train_1.jpg')
    own_detection.train_dataloader.dataset.data_prefix.img = 'https://example.org/train2017/'
    check(own_detection)


def test_other_formats_are_not_judged(own_coco, own_detection, check):
    dataset = own_detection.train_dataloader.dataset
    dataset.update(type='XMLDataset', ann_file='train.txt', data_prefix=dict(sub_data_root=''))
    (own_coco / 'train.txt').write_text('')
    check(own_detection)


def test_one_name_without_a_comma(own_detection, complaint):
    own_detection.train_dataloader.dataset.metainfo.classes = 'cat'  # what ('cat') is
    complaint(own_detection, "train_dataloader.dataset.metainfo.classes is the string 'cat'", "classes=('cat',)")


def test_classes_set_but_not_num_classes(own_detection, complaint):
    own_detection.model.roi_head.mask_head.num_classes = 80
    complaint(
        own_detection, 'model.roi_head.mask_head.num_classes is 80', '--cfg-options', 'bbox_head.num_classes=2', 'cat'
    )


def test_num_classes_set_but_not_classes(own_detection, complaint):
    own_detection.val_dataloader.dataset.pop('metainfo')
    complaint(own_detection, 'other classes than val_dataloader.dataset expects')


def test_misspelt_dataset(own_detection, complaint):
    own_detection.train_dataloader.dataset.type = 'CocoDatset'
    complaint(own_detection, "train_dataloader.dataset.type is 'CocoDatset'")


def test_unknown_argument_of_a_dataset(own_detection, complaint):
    own_detection.train_dataloader.dataset.img_prefix = 'train2017'
    complaint(own_detection, 'train_dataloader.dataset cannot be built', 'img_prefix')


def test_no_annotation_file_in_the_config(own_detection, complaint):
    own_detection.train_dataloader.dataset.pop('ann_file')
    complaint(own_detection, 'train_dataloader.dataset has no ann_file')


def test_mini_data_is_sound(root, tmp_path, monkeypatch, check):
    from mmconvnext.config.prepare import prepare

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('mmconvnext.config.mini_recipe.TRAIN_IMAGES', 14)
    monkeypatch.setattr('mmconvnext.config.mini_recipe.VAL_IMAGES', 14)
    for name in ('detection/cascade_convnext_t_3x', 'segmentation/upernet_convnext_t_160k'):
        check(prepare(str(root / f'configs/{name}.py'), use_mini=True).cfg)


def test_images_that_are_trained_and_evaluated(own_segmentation, check):
    assert not len(check(own_segmentation).findings)
    own_segmentation.val_dataloader.dataset.data_prefix = own_segmentation.train_dataloader.dataset.data_prefix
    (finding,) = check(own_segmentation).findings
    assert (finding.kind, finding.count, finding.total) == ('images-trained-and-evaluated', 2, 2)


def test_validation_on_training_images(own_detection, own_coco, check):
    own_detection.val_dataloader.dataset.update(
        ann_file='annotations/instances_train2017.json', data_prefix=dict(img='train2017/')
    )
    own_detection.val_evaluator.ann_file = str(own_coco / 'annotations/instances_train2017.json')
    (finding,) = check(own_detection).findings
    assert (finding.kind, finding.severity) == ('images-trained-and-evaluated', Severity.CHANGES)
    assert (finding.file, finding.count, finding.total) == ('val_dataloader.dataset', 2, 2)


def test_thousands_of_classes_are_not_printed(own_coco, own_detection, complaint):
    path = own_coco / 'annotations/instances_train2017.json'
    content = json.loads(path.read_text())
    content['categories'] = [dict(id=i, name=f'kind {i}') for i in range(5000)]
    path.write_text(json.dumps(content))
    message = complaint(own_detection, "metainfo = dict(classes='classes.txt')", 'kind 0, kind 1', '5000')
    assert len(message) < 5000


@pytest.fixture
def own_voc(own_detection, own_coco):
    """A config for two images in Pascal VOC's layout."""
    for folder in ('JPEGImages', 'Annotations'):
        (own_coco / folder).mkdir()
    for name in ('0001', '0002'):
        (own_coco / f'JPEGImages/{name}.jpg').touch()
        (own_coco / f'Annotations/{name}.xml').write_text('<annotation/>')
    (own_coco / 'train.txt').write_text('0001\n0002\n')
    own_detection.train_dataloader.dataset.update(
        type='XMLDataset', ann_file='train.txt', data_prefix=dict(sub_data_root='')
    )
    return own_detection


def test_list_of_voc(own_voc, own_coco, check, refused):
    check(own_voc)
    (own_coco / 'Annotations/0002.xml').unlink()
    assert refused(own_voc, 'xml-list-xml').examples == [str(own_coco / 'Annotations/0002.xml')]
    own_voc.train_dataloader.dataset.ann_file = 'annotations/instances_train2017.json'
    finding = refused(own_voc, 'xml-list')
    assert len(str(finding)) < 1000
    assert finding.file == str(own_coco / 'annotations/instances_train2017.json')


def test_layout_of_other_formats_is_not_said_to_be_that_of_coco(own_voc, own_coco, complaint):
    (own_coco / 'train.txt').unlink()
    assert 'train2017/*.jpg' not in complaint(own_voc, own_coco / 'train.txt')
