import pytest
from mmengine.config import Config

from mmconvnext.config.metric_names import check_monitored
from mmconvnext.errors import UserError


def config(evaluator, save_best=None, **others):
    return Config(dict(val_evaluator=evaluator, default_hooks=dict(checkpoint=dict(save_best=save_best)), **others))


@pytest.mark.parametrize(
    ('evaluator', 'names', 'wrong'),
    [
        (dict(type='IoUMetric'), ['mIoU', 'aAcc'], 'mDice'),
        (dict(type='IoUMetric', iou_metrics=['mDice', 'mFscore']), ['mDice', 'mPrecision'], 'mIoU'),
        (dict(type='CocoMetric', metric=['bbox', 'segm']), ['coco/segm_mAP', 'coco/bbox_mAP_50'], 'segm_mAP'),
        (dict(type='CocoMetric', metric='bbox'), ['coco/bbox_mAP'], 'coco/segm_mAP'),
        (dict(type='CocoMetric', metric='proposal', prefix='rpn'), ['rpn/AR@100'], 'coco/AR@100'),
        ([dict(type='IoUMetric'), dict(type='CocoMetric')], ['mIoU', 'coco/bbox_mAP'], 'mDice'),
    ],
)
def test_save_best_by_a_metric_that_is_not_given_is_refused_with_those_that_are(evaluator, names, wrong):
    """MMEngine raised a KeyError after the first evaluation, after 16,000 steps."""
    for name in (*names, 'auto', names, None):
        check_monitored(config(evaluator, name))
    with pytest.raises(UserError) as error:
        check_monitored(config(evaluator, wrong))
    assert set(names) <= set(error.value.facts['names'])
    assert error.value.facts['key'] == 'default_hooks.checkpoint.save_best'


@pytest.mark.parametrize(
    ('others', 'key'),
    [
        (dict(custom_hooks=[dict(type='EarlyStoppingHook', monitor='mAP')]), 'custom_hooks.0.monitor'),
        (dict(param_scheduler=dict(type='ReduceOnPlateauLR', monitor='acc')), 'param_scheduler.0.monitor'),
        (dict(param_scheduler=[dict(type='LinearLR'), dict(monitor='acc')]), 'param_scheduler.1.monitor'),
    ],
)
def test_so_are_hooks_and_schedules_that_decide_by_one(others, key):
    with pytest.raises(UserError) as error:
        check_monitored(config(dict(type='IoUMetric'), **others))
    assert error.value.facts['key'] == key


@pytest.mark.parametrize(
    'evaluator',
    [
        None,
        dict(type='VOCMetric'),
        [dict(type='IoUMetric'), dict(type='Mine')],
        dict(type='IoUMetric', format_only=True),
    ],
)
def test_what_is_not_known_is_not_checked(evaluator):
    check_monitored(config(evaluator, 'anything'))


def test_the_names_are_those_that_the_evaluators_give():
    import numpy as np
    import torch
    from mmseg.evaluation import IoUMetric

    metric = IoUMetric(iou_metrics=['mIoU', 'mDice', 'mFscore'])
    metric.dataset_meta = dict(classes=('a', 'b'))
    labels = torch.from_numpy(np.tile([0, 1], (4, 4)))
    sample = {name: dict(data=labels[None]) for name in ('pred_sem_seg', 'gt_sem_seg')}
    metric.process({}, [sample | dict(img_path='x.png')])
    given = metric.evaluate(size=1)
    with pytest.raises(UserError) as error:
        check_monitored(config(dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice', 'mFscore']), 'none of them'))
    assert set(error.value.facts['names']) == set(given)
