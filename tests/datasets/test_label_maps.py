import numpy as np
import pytest
from mmengine.config import ConfigDict
from mmengine.registry import DATASETS
from PIL import Image

from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.label_maps import check_label_maps

MAP = 'annotations/training/1.png'
LOADERS = ('train_dataloader', 'val_dataloader')


@pytest.fixture
def repaint(own_masks):
    """Replaces the second training label map."""

    def run(labels, mode=None):
        Image.fromarray(labels).convert(mode).save(own_masks / MAP)

    return run


def labels(value, dtype=np.uint8):
    out = np.zeros((64, 96), dtype)
    out[5:9, 5:9] = value
    return out


def test_sound_data_passes_and_is_what_the_dataset_reads(own_segmentation, check):
    check(own_segmentation)
    with DATASETS.switch_scope_and_registry('mmseg') as registry:
        dataset = registry.build(own_segmentation.val_dataloader.dataset)
    assert np.unique(dataset[0]['data_samples'].gt_sem_seg.data).tolist() == [0, 1]


@pytest.mark.parametrize(
    ('values', 'reduces', 'fine'),
    [
        ((0, 1, 255), False, True),
        ((0, 1, 2), False, False),
        ((0, 1, 2, 255), True, True),
        ((0, 3), True, False),
        ((0, 254), True, False),
    ],
)
def test_values_that_are_no_class(repaint, own_segmentation, check, complaint, values, reduces, fine):
    for loader in LOADERS:
        own_segmentation[loader].dataset.reduce_zero_label = reduces
    painted = np.resize(np.array(values, np.uint8), (64, 96))
    repaint(painted)
    if fine:
        check(own_segmentation)
    else:
        expected = 'be 0 (no class), 1 to 2' if reduces else 'be 0 to 1'
        complaint(own_segmentation, MAP, f'has the values {values[-1]}.', '2 classes', expected)


def test_sixteen_bits(repaint, own_segmentation, complaint):
    repaint(labels(256, np.uint16))  # which 8 bits would make the first class
    complaint(own_segmentation, MAP, 'has the values 256.')


def test_palette_and_single_bit_are_fine(repaint, own_segmentation, own_masks, check):
    image = Image.fromarray(labels(1)).convert('P')
    image.putdata(labels(1).ravel().tolist())
    image.save(own_masks / MAP)
    check(own_segmentation)
    Image.fromarray(labels(1).astype(bool)).save(own_masks / MAP)
    check(own_segmentation)


@pytest.mark.parametrize(('mode', 'channels'), [('RGB', 3), ('RGBA', 4), ('LA', 2)])
def test_colour_map(repaint, own_segmentation, complaint, mode, channels):
    repaint(labels(200), mode)
    complaint(own_segmentation, MAP, f'have {channels} channels', 'first channel')


def test_unreadable_map(own_masks, own_segmentation, complaint):
    (own_masks / MAP).write_text('no picture')
    complaint(own_segmentation, MAP, 'cannot be read')


def test_image_without_a_map(own_masks, own_segmentation, complaint):
    (own_masks / MAP).unlink()
    complaint(own_segmentation, '1 of 2 images', own_masks / MAP, 'holds 0.png.', "seg_map_suffix, now '.png'")


def test_empty_label_folder(own_masks, own_segmentation, complaint):
    for path in (own_masks / 'annotations/validation').iterdir():
        path.unlink()
    complaint(own_segmentation, '2 of 2 images', 'annotations/validation is empty')


def test_images_of_another_suffix(own_segmentation, complaint):
    own_segmentation.train_dataloader.dataset.img_suffix = '.jpg'
    complaint(own_segmentation, 'has no .jpg images', '0.png, 1.png', 'train_dataloader.dataset.img_suffix')


def test_empty_image_folder(own_masks, own_segmentation, complaint):
    for path in (own_masks / 'images/training').iterdir():
        path.unlink()
    complaint(own_segmentation, own_masks / 'images/training', 'it is empty')


def test_list_of_names(own_masks, own_segmentation, check, complaint):
    own_segmentation.train_dataloader.dataset.ann_file = 'train.txt'
    complaint(own_segmentation, own_masks / 'train.txt', '(train_dataloader.dataset.ann_file)')
    (own_masks / 'train.txt').write_text('0\n1\n')
    check(own_segmentation)
    (own_masks / 'train.txt').write_text('0.png\n1.png\n')
    complaint(own_segmentation, own_masks / 'train.txt', '2 of 2 images', '0.png.png', 'without the suffix')


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


def test_some_classes_of_a_fixed_list(own_segmentation, repaint, check, complaint):
    # The label map of such a dataset has the numbers of the whole list
    for loader in LOADERS:
        dataset = own_segmentation[loader].dataset
        dataset.update(type='ADE20KDataset', metainfo=dict(classes=('wall', 'sky')), reduce_zero_label=True)
    repaint(labels(150))
    check(own_segmentation)
    repaint(labels(151))
    complaint(own_segmentation, 'has the values 151.', '1 to 150')


@pytest.fixture
def found(own_segmentation):
    """Gathers the findings of the training split, by kind."""

    def run(**options):
        node = own_segmentation.train_dataloader.dataset
        with DATASETS.switch_scope_and_registry('mmseg') as registry:
            dataset = registry.build(node.to_dict() | dict(lazy_init=True, pipeline=[]) | options)
        findings = Findings()
        check_label_maps(findings, dataset, 'train', None)
        return {finding.kind: finding for finding in findings}

    return run


def repaint_all(folder, change):
    for path in (folder / 'annotations/training').iterdir():
        Image.fromarray(change(np.asarray(Image.open(path)))).save(path)


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


@pytest.mark.parametrize(('share', 'severity'), [(2, Severity.REFUSES), (0, None)])
def test_black_and_white_masks_of_which_white_is_ignored(own_masks, found, share, severity):
    repaint_all(own_masks, lambda labels: np.where(labels > 0, np.uint8(255 if share else 1), np.uint8(0)))
    findings = found()
    assert [finding.severity for finding in findings.values()] == ([severity] if severity else [])
    assert set(findings) == ({'map-0-255'} if severity else set())


def test_a_border_of_255_beside_class_1_is_fine(own_masks, found):
    repaint_all(own_masks, lambda labels: np.where(np.arange(96) < 3, np.uint8(255), labels))
    assert found() == {}


def test_jpeg_maps_are_refused_for_being_jpeg(own_masks, found):
    for path in (own_masks / 'annotations/training').iterdir():
        Image.open(path).save(path.with_suffix('.jpg'))
    findings = found(seg_map_suffix='.jpg')
    assert set(findings) == {'map-jpeg'}
    assert findings['map-jpeg'].count == 2


def test_colours_and_fractions(own_masks, found):
    colours = np.zeros((64, 96, 3), np.uint8)
    colours[:20] = (255, 0, 0)
    Image.fromarray(colours).save(own_masks / MAP)
    assert found()['map-colours'].examples == [f'{own_masks / MAP} (RGB)']
    for path in (own_masks / 'annotations/training').iterdir():
        labels = np.asarray(Image.open(path).convert('L'))
        Image.fromarray((labels > 0).astype(np.float32) / 2).save(path.with_suffix('.tif'))
    assert found(seg_map_suffix='.tif')['map-fractions'].count == 2


@pytest.mark.parametrize('other', ['.jpg', '.PNG'])
def test_images_of_two_suffixes(own_masks, found, other):
    path = own_masks / 'images/training/1.png'
    Image.open(path).save(own_masks / f'images/training/1_{other}')
    (own_masks / f'images/training/1_{other}').rename(path.with_suffix(other))
    path.unlink(missing_ok=True)
    findings = found()
    assert set(findings) == {'images-of-another-suffix', 'maps-without-image'}
    assert all((f.severity, f.count, f.total) == (Severity.LEFT_OUT, 1, 2) for f in findings.values())
    assert findings['images-of-another-suffix'].examples == [f'1{other}']
    assert findings['maps-without-image'].examples == ['1.png']


def test_the_maps_beside_their_images_are_not_left_out(own_masks, own_segmentation, found):
    folder = own_masks / 'images/training'
    for path in list(folder.iterdir()):
        Image.open(path).save(path.with_suffix('.jpg'))
        path.unlink()
        (own_masks / f'annotations/training/{path.name}').rename(path)
    prefix = dict(img_path='images/training', seg_map_path='images/training')
    assert found(img_suffix='.jpg', data_prefix=prefix) == {}


def test_zero_is_a_class_but_is_ignored(found):
    finding = found(reduce_zero_label=True)['map-zero-is-a-class']
    assert finding.severity is Severity.CHANGES
    assert found(reduce_zero_label=True, metainfo=dict(classes=('road',))) == {}


def test_classes_that_start_at_1_without_reduce_zero_label(own_masks, found):
    repaint_all(own_masks, lambda labels: labels + np.uint8(1))
    assert 'reduce_zero_label=True' in found()['map-values'].remedy
    assert set(found(reduce_zero_label=True)) == set()


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
