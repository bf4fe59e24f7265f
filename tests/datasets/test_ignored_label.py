import numpy as np
import pytest
from PIL import Image

from mmconvnext.datasets.findings import Severity


@pytest.fixture
def ignoring(own_segmentation):
    """Sets what the parts of a config ignore."""

    def run(*, heads=255, padding=255, metric=255, loss=None):
        model = own_segmentation.model
        for head in (model.decode_head, model.auxiliary_head):
            head.ignore_index = heads
            if loss is not None:
                head.loss_decode = [head.loss_decode, dict(type='DiceLoss', ignore_index=loss)]
        model.data_preprocessor.seg_pad_val = padding
        own_segmentation.val_evaluator.ignore_index = metric
        return own_segmentation

    return run


def kinds(checked):
    return {finding.kind: finding.severity for finding in checked.findings}


def test_all_parts_that_ignore_one_label_agree(ignoring, check):
    assert kinds(check(ignoring())) == {}
    assert kinds(check(ignoring(heads=0, padding=0, metric=0))) == {}
    assert kinds(check(ignoring(loss=255))) == {}


def test_heads_that_do_not_ignore_255_of_the_maps(ignoring, repaint_all, refused):
    """The loss raised an IndexError: Target 255 is out of bounds."""
    repaint_all(lambda labels: np.where(np.arange(96) < 3, np.uint8(255), labels))
    finding = refused(ignoring(heads=0, padding=0, metric=0), 'head-knows-no-255')
    assert finding.count == 2
    assert 'model.decode_head.ignore_index is 0' in finding.examples[0]


def test_heads_that_do_not_ignore_what_reduce_zero_label_makes_255(ignoring, repaint_all, refused):
    cfg = ignoring(heads=1, padding=1, metric=1)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.reduce_zero_label = True
    assert refused(cfg, 'head-knows-no-255').count == 2


@pytest.mark.parametrize(('padding', 'severity'), [(0, Severity.CHANGES), (1, Severity.CHANGES), (7, None)])
def test_padding_that_the_heads_do_not_ignore(ignoring, check, refused, padding, severity):
    if severity:
        assert kinds(check(ignoring(padding=padding))) == {'padding-is-learnt': severity}
    else:
        refused(ignoring(padding=padding), 'padding-is-learnt')


def test_heads_that_ignore_different_labels(ignoring, refused):
    cfg = ignoring()
    cfg.model.auxiliary_head.ignore_index = 0
    finding = refused(cfg, 'padding-is-learnt')
    assert finding.examples == ['model.auxiliary_head.ignore_index is 0']
    assert 'ignore_index=255' in finding.remedy


def test_a_loss_that_ignores_another_label_than_its_head(ignoring, check):
    assert kinds(check(ignoring(loss=1))) == {'loss-ignores-another-label': Severity.CHANGES}


def test_an_evaluator_that_counts_what_is_ignored(ignoring, check, own_masks, repaint_all):
    cfg = ignoring(heads=0, padding=0)
    assert kinds(check(cfg)) == {'evaluator-counts-what-heads-ignore': Severity.CHANGES}
    cfg.val_dataloader.dataset.data_prefix.update(img_path='images/training', seg_map_path='annotations/training')
    repaint_all(lambda labels: np.where(np.arange(96) < 3, np.uint8(255), labels))
    assert kinds(check(ignoring(metric=0)))['evaluator-counts-255'] is Severity.CHANGES


def test_255_is_a_class_for_a_loader_of_16_bits(ignoring, own_masks, check):
    """As docs/your_own_data.md says of more than 255 classes."""
    cfg = ignoring(heads=300, padding=300, metric=300)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo = dict(classes=[f'class {i}' for i in range(300)])
        for transform in loader.dataset.pipeline:
            if transform.type == 'LoadAnnotations':
                transform.type = 'LoadImageFromFile'  # which stands for a loader of the user's own
    for head in (cfg.model.decode_head, cfg.model.auxiliary_head):
        head.num_classes = 300
    for path in own_masks.glob('annotations/*/*.png'):
        Image.fromarray(np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) % 301).save(path)
    assert kinds(check(cfg)) == {}
