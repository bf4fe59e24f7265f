import numpy as np
import pytest
from PIL import Image

from mmconvnext.datasets.findings import Severity

MAP = 'annotations/training/1.png'


def test_image_without_a_map(own_masks, own_segmentation, complaint):
    (own_masks / MAP).unlink()
    complaint(own_segmentation, '1 of 2 images', own_masks / MAP, 'holds 0.png.', "seg_map_suffix, now '.png'")


def test_empty_label_folder(own_masks, own_segmentation, complaint):
    for path in (own_masks / 'annotations/validation').iterdir():
        path.unlink()
    complaint(own_segmentation, '2 of 2 images', 'annotations/validation is empty')


def test_list_of_names(own_masks, own_segmentation, check, complaint):
    own_segmentation.train_dataloader.dataset.ann_file = 'train.txt'
    complaint(own_segmentation, own_masks / 'train.txt', '(train_dataloader.dataset.ann_file)')
    (own_masks / 'train.txt').write_text('0\n1\n')
    check(own_segmentation)
    (own_masks / 'train.txt').write_text('0.png\n1.png\n')
    complaint(own_segmentation, own_masks / 'train.txt', '2 of 2 images', '0.png.png', 'without the suffix')


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


def test_blank_lines_of_a_list_are_named_as_such(own_masks, found):
    (own_masks / 'train.txt').write_text('0\n\n1\n\n')
    findings = found(ann_file='train.txt')
    assert set(findings) == {'list-blank-lines'}
    finding = findings['list-blank-lines']
    assert (finding.severity, finding.count, finding.total) == (Severity.REFUSES, 2, 4)


@pytest.mark.parametrize(
    ('lines', 'cause'), [('0.png\n1.png\n', 'suffix already'), ('0.png 0.png\n1.png 1.png\n', 'several names')]
)
def test_lines_of_a_list_that_are_no_names_have_their_cause_said(own_masks, found, lines, cause):
    (own_masks / 'train.txt').write_text(lines)
    findings = found(ann_file='train.txt')
    assert {kind: finding.count for kind, finding in findings.items()} == {'images-missing': 2}
    assert cause in findings['images-missing'].remedy


def test_label_maps_that_are_read_as_images(own_masks, found):
    """Of 1.png and 1_mask.png in one folder, half were said to have no label map."""
    folder = own_masks / 'images/training'
    for path in list(folder.iterdir()):
        (own_masks / f'annotations/training/{path.name}').rename(folder / f'{path.stem}_mask.png')
    prefix = dict(img_path='images/training', seg_map_path='images/training')
    findings = found(data_prefix=prefix, seg_map_suffix='_mask.png')
    finding = findings['maps-among-images']
    assert (finding.severity, finding.count, finding.total) == (Severity.REFUSES, 2, 4)
    assert finding.examples == ['0_mask.png', '1_mask.png']
    assert 'maps-missing' not in findings
    (own_masks / 'train.txt').write_text('0\n1\n')  # which is what it advises
    assert found(data_prefix=prefix, seg_map_suffix='_mask.png', ann_file='train.txt') == {}


def test_arrays_in_place_of_label_maps(own_masks, found):
    for path in (own_masks / 'annotations/training').iterdir():
        np.save(path.with_suffix('.npy'), np.asarray(Image.open(path)))
        path.unlink()
    assert 'numpy.load' in found()['maps-missing'].remedy
    finding = found(seg_map_suffix='.npy')['map-array']
    assert (finding.severity, finding.count, finding.total) == (Severity.REFUSES, 2, 2)
