from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MMLogger
from torch import nn

from mmconvnext.errors import UserError
from mmconvnext.semi.mean_teacher import RelativeMeanTeacherHook


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher = nn.BatchNorm1d(2), nn.BatchNorm1d(2)


def runner(model, steps, at=0):
    return SimpleNamespace(model=model, max_iters=steps, iter=at, logger=MMLogger.get_current_instance())


@pytest.mark.parametrize(
    ('steps', 'momentum'), [(180_000, 0.001), (20_000, 0.001), (2_000, 0.01), (300, 1 / 15), (10, 1.0)]
)
def test_the_momentum_is_mmdetections_in_long_trainings_and_more_in_short_ones(steps, momentum):
    hook = RelativeMeanTeacherHook(momentum=0.001, memory=0.05)
    hook.before_train(runner(Pair(), steps))
    assert hook.momentum == pytest.approx(momentum)


def test_the_teacher_is_the_average_with_its_buffers():
    model = Pair()
    nn.init.constant_(model.student.weight, 2.0)
    model.student.running_mean.fill_(4.0)
    hook = RelativeMeanTeacherHook(momentum=0.001, memory=0.1)
    hook.before_train(runner(model, 40))  # of which it remembers 4
    assert torch.equal(model.teacher.weight, model.student.weight)
    nn.init.constant_(model.student.weight, 6.0)
    model.student.running_mean.fill_(8.0)
    for step in range(3):
        hook.after_train_iter(runner(model, 40, step), step)
    kept = 0.75**3
    assert model.teacher.weight.tolist() == pytest.approx(2 * [kept * 2 + (1 - kept) * 6])
    assert model.teacher.running_mean.tolist() == pytest.approx(2 * [kept * 4 + (1 - kept) * 8])


def test_a_resumed_training_keeps_its_teacher():
    model = Pair()
    nn.init.constant_(model.student.weight, 2.0)
    RelativeMeanTeacherHook().before_train(runner(model, 40, at=20))
    assert model.teacher.weight.tolist() == [1.0, 1.0]


@pytest.mark.parametrize('memory', [0.0, -1.0, 1.1])
def test_other_memories_are_refused(memory):
    with pytest.raises(UserError, match='memory'):
        RelativeMeanTeacherHook(memory=memory)
