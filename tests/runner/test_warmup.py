import pytest

from mmconvnext.runner.warmup import unfinished_warmups

MAIN = dict(type='MultiStepLR', by_epoch=True, milestones=[2], end=3)


def linear(**settings):
    return dict(type='LinearLR', start_factor=0.001, by_epoch=False, **settings)


@pytest.mark.parametrize(
    ('schedules', 'steps', 'epochs', 'options'),
    [
        ([linear(end=1000), MAIN], 300, 3, 'param_scheduler.0.end=30'),
        (linear(end=1000), 300, None, 'param_scheduler.end=30'),
        (
            [linear(end=1500), dict(type='PolyLR', begin=1500)],
            9,
            None,
            'param_scheduler.0.end=2 param_scheduler.1.begin=2',
        ),
        ([dict(type='LinearLR', begin=0, end=20)], 1000, 10, 'param_scheduler.0.end=2'),
        ([linear(end=300)], 300, 3, None),
        ([MAIN, linear(end=30)], 300, 3, None),
        ([linear(end=1000, end_factor=0.0)], 300, 3, None),  # a decay
        ([dict(type='PolyLR', end=1000, by_epoch=False)], 300, None, None),
        ([dict(type='LinearLR', end=5)], 300, None, None),  # in epochs, of a training in steps
        ([linear()], 300, 3, None),
        (None, 300, 3, None),
    ],
)
def test_warmup_longer_than_the_training_is_said(schedules, steps, epochs, options):
    sentences = unfinished_warmups(schedules, steps=steps, epochs=epochs)
    assert [sentence.partition('--cfg-options ')[2] for sentence in sentences] == ([options] if options else [])
    for sentence in sentences:
        assert str(steps if epochs is None or '1000' in sentence else epochs) in sentence
