from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from mmconvnext.runner.zero_loss import ZeroLossHook


def said(losses, max_iters=100):
    """What is said of a training with these losses in each step."""
    runner = SimpleNamespace(logger=Mock(), iter=0, max_iters=max_iters)
    hook = ZeroLossHook(steps=3)
    for runner.iter, outputs in enumerate(losses):
        hook.after_train_iter(runner, runner.iter, outputs=outputs)
    return [call.args[0] for call in runner.logger.warning.call_args_list]


def step(box, other=1.0):
    return dict(loss=torch.tensor(box + other), loss_bbox=torch.tensor(box), loss_cls=other, acc=0.0)


def test_a_loss_that_is_0_from_the_first_step_is_said_once():
    (words,) = said([step(0.0)] * 9)
    assert 'loss_bbox' in words
    assert 'loss_cls' not in words


@pytest.mark.parametrize('losses', [[0.0, 0.0, 0.1, 0.0, 0.0, 0.0], [0.1] * 6])
def test_one_that_is_not_is_not(losses):
    assert said([step(box) for box in losses]) == []


def test_a_training_shorter_than_that_says_it_too():
    assert len(said([step(0.0)] * 2, max_iters=2)) == 1
