"""The reward of Meta Pseudo Labels against the exact gradient through the student's step, on toys where it is known."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmconvnext.semi.meta_reward import MetaReward

CLASSES, FEATURES = 3, 4


def toy(seed: int = 0) -> tuple[Tensor, ...]:
    """Linear student and teacher in float64: their weights, an unlabelled image, and a labelled one with its label."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    return (
        draw(CLASSES, FEATURES),
        draw(CLASSES, FEATURES),
        draw(FEATURES),
        draw(FEATURES),
        torch.tensor(seed % CLASSES),
    )


def of_label(weight: Tensor, image: Tensor, label: Tensor | int) -> Tensor:
    return cross_entropy((weight @ image)[None], torch.as_tensor(label)[None])


def rewarded(lr: float, rate: float = 0.0, baseline: float = 0.0, seed: int = 0) -> Tensor:
    """The teacher's gradient by rewards: the mean over all pseudo labels, by the probability of each."""
    student, teacher, unlabelled, labelled, truth = toy(seed)
    probabilities = (teacher @ unlabelled).softmax(0)
    total = torch.zeros_like(teacher)
    for label in range(CLASSES):
        weight = student.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(of_label(weight, unlabelled, label), weight)
        reward = MetaReward(rate)
        reward.baseline = torch.tensor(baseline, dtype=torch.float64)
        h = reward(of_label(student, labelled, truth), of_label(student - lr * gradient, labelled, truth))
        own = teacher.clone().requires_grad_()
        (of_teacher,) = torch.autograd.grad(h * of_label(own, unlabelled, label), own)
        total += probabilities[label] * of_teacher
    return total


def exact(lr: float, seed: int = 0) -> Tensor:
    """The gradient of the labelled loss after the step that the student takes on average, by autograd through it."""
    student, teacher, unlabelled, labelled, truth = toy(seed)
    teacher, student = teacher.requires_grad_(), student.requires_grad_()
    probabilities = (teacher @ unlabelled).softmax(0)
    loss = torch.stack([p * of_label(student, unlabelled, label) for label, p in enumerate(probabilities)]).sum()
    (step,) = torch.autograd.grad(loss, student, create_graph=True)
    (gradient,) = torch.autograd.grad(of_label(student - lr * step, labelled, truth), teacher)
    return gradient


@pytest.mark.parametrize('seed', range(4))
def test_it_is_the_exact_gradient_to_first_order(seed):
    errors = [(rewarded(lr, seed=seed) / lr - exact(lr, seed) / lr).norm() for lr in (1e-2, 5e-3, 2.5e-3)]
    assert errors[2] < 0.02 * (exact(2.5e-3, seed) / 2.5e-3).norm()
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(2, rel=0.1)  # what is left is of the next order


@pytest.mark.parametrize('seed', range(4))
def test_a_teacher_that_follows_it_helps_the_student(seed):
    lr = 0.05
    assert torch.cosine_similarity(rewarded(lr, seed=seed).flatten(), exact(lr, seed).flatten(), 0) > 0.9

    def labelled_loss(change: float) -> float:
        student, teacher, unlabelled, labelled, truth = toy(seed)
        student.requires_grad_()
        probabilities = ((teacher - change * rewarded(lr, seed=seed)) @ unlabelled).softmax(0)
        loss = torch.stack([p * of_label(student, unlabelled, label) for label, p in enumerate(probabilities)]).sum()
        (step,) = torch.autograd.grad(loss, student)
        return float(of_label(student - lr * step, labelled, truth).detach())

    # The sign of the authors' code would raise it
    assert labelled_loss(1.0) < labelled_loss(0.0) < labelled_loss(-1.0)


def test_of_quadratic_losses_it_is_known():
    # The student is a number w with the labelled loss (w - a)^2 / 2 and the pseudo loss (w - b)^2 / 2
    w, a, b, lr = 1.0, 4.0, 3.0, 0.1
    after = w - lr * (w - b)
    loss = [torch.tensor((value - a) ** 2 / 2, dtype=torch.float64) for value in (w, after)]
    # lr <grad, grad'> minus the term of second order, whose factor is the labelled loss's second derivative, 1
    assert float(MetaReward()(*loss)) == pytest.approx(lr * (w - a) * (w - b) - lr**2 * (w - b) ** 2 / 2, rel=1e-6)
    assert float(MetaReward()(*loss)) > 0  # b lies on the side of a, so its step helps


def test_a_baseline_leaves_the_expected_gradient():
    assert torch.allclose(rewarded(0.1, baseline=7.0), rewarded(0.1), rtol=0, atol=1e-12)
    assert rewarded(0.1).abs().max() > 1e-3


def test_the_baseline_is_the_moving_average_of_earlier_rewards():
    reward = MetaReward(rate=0.25)
    before = torch.tensor(3.0, requires_grad=True)
    given = [reward(before, torch.tensor(after)) for after in (1.0, 2.0, 4.0)]
    # rewards 2, 1, -1 and baselines 0, 0.5, 0.625
    assert [float(one) for one in given] == [2.0, 0.5, -1.625]
    assert float(reward.baseline) == 0.625 - 0.25 * 1.625
    assert not any(one.requires_grad for one in given)
    resumed = MetaReward(rate=0.25)
    resumed.load_state_dict(reward.state_dict())
    assert torch.equal(resumed.baseline, reward.baseline)


@pytest.mark.parametrize('rate', [-0.1, 1.5])
def test_other_rates_are_refused(rate):
    with pytest.raises(ValueError, match='rate'):
        MetaReward(rate)
