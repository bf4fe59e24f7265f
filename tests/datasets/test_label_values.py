import numpy as np
import pytest
from PIL import Image

from mmconvnext.datasets.findings import Severity

MAP = 'annotations/training/1.png'
LOADERS = ('train_dataloader', 'val_dataloader')


def labels(value, dtype=np.uint8):
    out = np.zeros((64, 96), dtype)
    out[5:9, 5:9] = value
    return out


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


def test_some_classes_of_a_fixed_list(own_segmentation, repaint, check, complaint):
    # The label map of such a dataset has the numbers of the whole list
    for loader in LOADERS:
        dataset = own_segmentation[loader].dataset
        dataset.update(type='ADE20KDataset', metainfo=dict(classes=('wall', 'sky')), reduce_zero_label=True)
    repaint(labels(150))
    check(own_segmentation)
    repaint(labels(151))
    complaint(own_segmentation, 'has the values 151.', '1 to 150')


@pytest.mark.parametrize(('share', 'severity'), [(2, Severity.REFUSES), (0, None)])
def test_black_and_white_masks_of_which_white_is_ignored(repaint_all, found, share, severity):
    repaint_all(lambda labels: np.where(labels > 0, np.uint8(255 if share else 1), np.uint8(0)))
    findings = found()
    assert [finding.severity for finding in findings.values()] == ([severity] if severity else [])
    assert set(findings) == ({'map-0-255'} if severity else set())


def test_a_border_of_255_beside_class_1_is_fine(repaint_all, found):
    repaint_all(lambda labels: np.where(np.arange(96) < 3, np.uint8(255), labels))
    assert found() == {}


def test_zero_is_a_class_but_is_ignored(found):
    finding = found(reduce_zero_label=True)['map-zero-is-a-class']
    assert finding.severity is Severity.CHANGES
    assert set(found(reduce_zero_label=True, metainfo=dict(classes=('road',)))) == {'one-class'}


def test_classes_that_start_at_1_without_reduce_zero_label(repaint_all, found):
    repaint_all(lambda labels: labels + np.uint8(1))
    assert 'reduce_zero_label=True' in found()['map-values'].remedy
    assert set(found(reduce_zero_label=True)) == set()


@pytest.mark.parametrize(('maps', 'severity'), [(2, Severity.REFUSES), (1, Severity.CHANGES), (0, None)])
@pytest.mark.parametrize(('nothing', 'reduces'), [(255, False), (0, True)])
def test_maps_without_a_pixel_of_a_class(own_masks, found, repaint_all, maps, severity, nothing, reduces):
    """Of validation, mIoU was NaN."""
    repaint_all(lambda labels: labels + np.uint8(reduces))
    for index in range(maps):
        Image.fromarray(np.full((64, 96), nothing, np.uint8)).save(own_masks / f'annotations/training/{index}.png')
    findings = found(reduce_zero_label=reduces)
    assert {kind: (f.severity, f.count, f.total) for kind, f in findings.items()} == (
        {'maps-ignored-throughout': (severity, maps, 2)} if maps else {}
    )


def test_maps_of_classes_that_are_not_used(own_masks, found, repaint_all):
    """Of two classes of ADE20K, wall (1) and sky (3), building (2) is ignored."""
    options = dict(type='ADE20KDataset', metainfo=dict(classes=('wall', 'sky')), reduce_zero_label=True)
    repaint_all(lambda labels: labels * np.uint8(2) + np.uint8(1))
    assert found(**options) == {}
    repaint_all(lambda labels: np.full_like(labels, 2))
    assert set(found(**options)) == {'maps-ignored-throughout'}


def test_what_the_heads_ignore_is_no_unknown_value(own_masks, own_segmentation, check, repaint, refused):
    repaint(labels(254))
    refused(own_segmentation, 'map-values')
    for head in (own_segmentation.model.decode_head, own_segmentation.model.auxiliary_head):
        head.ignore_index = 254
    own_segmentation.model.data_preprocessor.seg_pad_val = 254
    own_segmentation.val_evaluator.ignore_index = 254
    assert not len(check(own_segmentation).findings)
