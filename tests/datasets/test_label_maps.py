import numpy as np
import pytest
from mmengine.config import ConfigDict
from mmengine.registry import DATASETS
from PIL import Image

from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.findings import Severity

MAP = 'annotations/training/1.png'
LOADERS = ('train_dataloader', 'val_dataloader')


def labels(value, dtype=np.uint8):
    out = np.zeros((64, 96), dtype)
    out[5:9, 5:9] = value
    return out


def test_sound_data_passes_and_is_what_the_dataset_reads(own_segmentation, check):
    check(own_segmentation)
    with DATASETS.switch_scope_and_registry('mmseg') as registry:
        dataset = registry.build(own_segmentation.val_dataloader.dataset)
    assert np.unique(dataset[0]['data_samples'].gt_sem_seg.data).tolist() == [0, 1]


def test_images_of_another_suffix(own_segmentation, complaint):
    own_segmentation.train_dataloader.dataset.img_suffix = '.jpg'
    complaint(own_segmentation, 'has no .jpg images', '0.png, 1.png', 'train_dataloader.dataset.img_suffix')


def test_empty_image_folder(own_masks, own_segmentation, complaint):
    for path in (own_masks / 'images/training').iterdir():
        path.unlink()
    complaint(own_segmentation, own_masks / 'images/training', 'it is empty')


def test_no_label_folder_in_the_config(own_segmentation, complaint):
    own_segmentation.train_dataloader.dataset.data_prefix.pop('seg_map_path')
    complaint(own_segmentation, 'train_dataloader.dataset.data_prefix has no seg_map_path')


def test_pipeline_and_dataset_disagree_about_the_label_0(own_segmentation, complaint):
    own_segmentation.val_dataloader.dataset.pipeline[2].reduce_zero_label = True
    complaint(own_segmentation, 'val_dataloader.dataset.reduce_zero_label is False', 'reduce_zero_label=True')


def test_no_classes(own_segmentation, complaint):
    own_segmentation.train_dataloader.dataset.metainfo = {}
    complaint(own_segmentation, 'train_dataloader.dataset has no classes', 'metainfo=dict(classes=')


def test_own_classes_with_ade20ks_dataset(own_segmentation, complaint):
    own_segmentation.train_dataloader.dataset.type = 'ADE20KDataset'
    message = complaint(own_segmentation, 'train_dataloader.dataset cannot be built', "type='BaseSegDataset'")
    assert 'escalator' not in message  # the list of 150


def test_sound_maps_have_no_finding(found):
    assert found() == {}


def test_map_of_half_the_size(own_masks, found):
    path = own_masks / MAP
    Image.open(path).resize((48, 32), Image.NEAREST).save(path)
    finding = found()['map-size']
    assert (finding.severity, finding.count, finding.total) == (Severity.REFUSES, 1, 2)
    assert f'{path} is 48x32' in finding.examples[0]
    assert '1.png 96x64' in finding.examples[0]


def test_map_of_an_image_that_exif_turns(own_masks, own_segmentation, found):
    own_segmentation.train_dataloader.dataset.img_suffix = '.jpg'
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in (own_masks / 'images/training').iterdir():
        Image.open(path).save(path.with_suffix('.jpg'), exif=exif)
        path.unlink()
    finding = found()['map-size-exif']
    assert finding.count == 2
    assert 'is 96x64' in finding.examples[0]
    assert '64x96 as loaded (EXIF orientation 6)' in finding.examples[0]


def test_a_test_set_without_label_maps(own_masks, own_segmentation, check):
    test = own_segmentation.val_dataloader.dataset
    test.data_prefix = dict(img_path='images/validation')
    test.pipeline = [transform for transform in test.pipeline if transform.type != 'LoadAnnotations']
    with pytest.raises(DataError):
        check(own_segmentation)
    own_segmentation.val_evaluator = dict(type='IoUMetric', format_only=True, output_dir=str(own_masks / 'out'))
    check(own_segmentation)
    test.pipeline.insert(1, ConfigDict(type='LoadAnnotations'))  # which would look for a map of each image
    with pytest.raises(DataError):
        check(own_segmentation)


@pytest.mark.parametrize(('content', 'kind'), [(b'', 'empty'), (b'version https://git-lfs.github.com/', 'pointer')])
def test_files_that_are_no_label_maps(own_masks, found, content, kind):
    (own_masks / MAP).write_bytes(content)
    assert found()[f'label-maps-{kind}'].examples == [str(own_masks / MAP)]


@pytest.mark.parametrize(('classes', 'reduces', 'fine'), [(255, False, True), (256, False, False), (255, True, False)])
def test_classes_that_8_bits_cannot_number(own_segmentation, found, classes, reduces, fine):
    """Numbers of 16 bits were taken modulo 256, and class 255 was ignored."""
    for loader in LOADERS:
        own_segmentation[loader].dataset.reduce_zero_label = reduces
        own_segmentation[loader].dataset.metainfo = dict(classes=[f'class {i}' for i in range(classes)])
    refused = [kind for kind, finding in found().items() if finding.severity is Severity.REFUSES]
    assert refused == ([] if fine else ['more-classes-than-8-bits'])


def test_folders_exchanged_by_their_suffixes(own_masks, own_segmentation, complaint):
    for path in (own_masks / 'images/training').iterdir():
        Image.open(path).save(path.with_suffix('.jpg'))
        path.unlink()
    own_segmentation.train_dataloader.dataset.update(
        img_suffix='.jpg', data_prefix=dict(img_path='annotations/training', seg_map_path='images/training')
    )
    complaint(own_segmentation, 'exchange img_path and seg_map_path of train_dataloader.dataset.data_prefix')


def test_folders_exchanged_of_the_same_suffix(found):
    prefix = dict(img_path='annotations/training', seg_map_path='images/training')
    findings = found(data_prefix=prefix)
    assert set(findings) == {'images-and-maps-exchanged'}
    finding = findings['images-and-maps-exchanged']
    assert (finding.severity, finding.count, finding.total) == (Severity.REFUSES, 2, 2)


def test_colour_maps_of_grey_pictures_are_not_taken_for_exchanged(own_masks, found):
    noise = np.random.default_rng(0).integers(0, 255, (64, 96), np.uint8)
    for path in (own_masks / 'images/training').iterdir():
        Image.fromarray(noise).save(path)
        Image.fromarray(labels(200)).convert('RGB').save(own_masks / 'annotations/training' / path.name)
    assert set(found()) == {'map-grey-in-channels'}


@pytest.mark.parametrize('copied', [False, True])
def test_label_maps_that_are_the_images(own_masks, found, copied):
    """They were called colour maps, or JPEG."""
    prefix = dict(img_path='images/training', seg_map_path='images/training')
    if copied:
        for path in (own_masks / 'images/training').iterdir():
            (own_masks / 'annotations/training' / path.name).write_bytes(path.read_bytes())
        prefix = {}
    findings = found(**dict(data_prefix=prefix) if prefix else {})
    assert {kind: finding.count for kind, finding in findings.items()} == {'map-is-its-image': 2}


@pytest.mark.parametrize('reduces', [False, True])
def test_one_class_is_refused_and_not_advised(own_segmentation, found, reduces):
    """The advice was reduce_zero_label=True, and then the loss was 0."""
    findings = found(metainfo=dict(classes=('road',)), reduce_zero_label=reduces)
    assert {kind: finding.severity for kind, finding in findings.items()} == {'one-class': Severity.REFUSES}
    assert "('background', 'road')" in findings['one-class'].remedy


def test_an_empty_list_of_names(own_masks, own_segmentation, complaint):
    (own_masks / 'train.txt').write_text('')
    own_segmentation.train_dataloader.dataset.ann_file = 'train.txt'
    complaint(own_segmentation, own_masks / 'train.txt', 'lists no names')
