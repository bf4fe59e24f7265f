"""Against the papers' definition, a box and a class at a time, and what autograd makes of it."""

from types import ModuleType

import pytest
import torch
from mmcv.ops import SigmoidFocalLoss, SoftmaxFocalLoss, sigmoid_focal_loss, softmax_focal_loss
from torch import Tensor

pytestmark = pytest.mark.usefixtures('stand_in')

TOLERANCE = dict(rtol=1e-6, atol=1e-9, equal_nan=True)  # the mean of no boxes is no number
REDUCTIONS = {'none': lambda loss: loss, 'sum': torch.sum, 'mean': lambda loss: loss.sum() / len(loss)}


def by_hand(logits: Tensor, target: Tensor, gamma: float, alpha: float, weight: Tensor | None = None) -> Tensor:
    """Equation 5 of Focal Loss for Dense Object Detection; the weight is that of the box's class."""
    loss = 0 * logits
    for i in range(logits.shape[0]):
        for c in range(logits.shape[1]):
            p = torch.sigmoid(logits[i, c])
            positive = target[i] == c
            p_t, alpha_t = (p, alpha) if positive else (1 - p, 1 - alpha)
            loss[i, c] = -alpha_t * (1 - p_t) ** gamma * torch.log(p_t)
            if weight is not None and 0 <= target[i] < len(weight):
                loss[i, c] *= weight[target[i]]
    return loss


def softmax_by_hand(logits: Tensor, target: Tensor, gamma: float, alpha: float, weight: Tensor | None = None) -> Tensor:
    loss = 0 * logits[:, 0]
    for i, label in enumerate(target.tolist()):
        if label >= 0:
            p = logits[i, label].exp() / logits[i].exp().sum()
            loss[i] = -alpha * (1 - p) ** gamma * torch.log(p) * (1 if weight is None else weight[label])
    return loss


def case(seed: int, least: int = 1) -> tuple[Tensor, float, float, Tensor | None]:
    """(n, c) logits, gamma, alpha, and the classes' weights or None; n is 0 in some cases."""
    torch.manual_seed(seed)
    n, c = seed % 6, least + seed % 5
    logits = (3 * torch.randn(n, c, dtype=torch.double)).requires_grad_()
    gamma = [2.0, 0.0, 0.5, 1.0, 3.7][seed // 4 % 5]
    return logits, gamma, torch.rand(()).item(), torch.rand(c, dtype=torch.double) * 3 if seed % 2 else None


def check(loss: Tensor, expected: Tensor, logits: Tensor) -> None:
    torch.testing.assert_close(loss, expected, **TOLERANCE)
    gradients = [torch.autograd.grad(x.sum(), logits)[0] for x in (loss, expected)]
    torch.testing.assert_close(*gradients, **TOLERANCE)


@pytest.mark.parametrize('seed', range(20))
@pytest.mark.parametrize('reduction', ['none', 'sum', 'mean'])
def test_loss_and_gradient_are_the_papers(seed: int, reduction: str) -> None:
    logits, gamma, alpha, weight = case(seed)
    target = torch.randint(-1, logits.shape[1] + 1, logits.shape[:1])  # the last is the background
    loss = SigmoidFocalLoss(gamma, alpha, weight, reduction)(logits, target)
    expected = by_hand(logits, target, gamma, alpha, weight)
    check(loss, REDUCTIONS[reduction](expected), logits)


def test_class_weight_is_that_of_the_box_for_all_its_classes() -> None:
    logits, target = torch.randn(3, 2), torch.tensor([1, 0, 2])  # 2 is the background
    plain = sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'none')
    weighted = sigmoid_focal_loss(logits, target, 2.0, 0.25, torch.tensor([10.0, 0.5]), 'none')
    torch.testing.assert_close(weighted, plain * torch.tensor([[0.5], [10.0], [1.0]]))


@pytest.mark.parametrize('seed', range(20))
@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_softmax_loss_and_gradient(seed: int, reduction: str) -> None:
    logits, gamma, alpha, weight = case(seed, least=2)
    target = torch.randint(-1, logits.shape[1], logits.shape[:1])
    loss = SoftmaxFocalLoss(gamma, alpha, weight, reduction)(logits, target)
    check(loss, REDUCTIONS[reduction](softmax_by_hand(logits, target, gamma, alpha, weight)), logits)


@pytest.mark.parametrize('seed', range(1, 6))
def test_softmax_loss_of_each_box(seed: int) -> None:
    logits, gamma, alpha, weight = case(seed, least=2)
    target = torch.randint(-1, logits.shape[1], logits.shape[:1])
    loss = softmax_focal_loss(logits, target, gamma, alpha, weight, 'none')
    torch.testing.assert_close(loss, softmax_by_hand(logits, target, gamma, alpha, weight), **TOLERANCE)


def test_softmax_buffer_has_the_gradient_by_the_logarithm(stand_in: ModuleType) -> None:
    p = torch.rand(4, 3, dtype=torch.double)
    target, weight, buff = torch.tensor([0, 2, -1, 1]), torch.rand(3, dtype=torch.double), torch.ones(4).double()
    stand_in.softmax_focal_loss_backward(p, target, weight, buff, torch.empty_like(p), gamma=1.5, alpha=0.3)
    log_p = p.log().requires_grad_()
    right = log_p[range(4), target]
    loss = -0.3 * (1 - right.exp()) ** 1.5 * right * weight[target] * (target >= 0)
    (expected,) = torch.autograd.grad(loss.sum(), log_p)
    torch.testing.assert_close(buff, expected.sum(1), **TOLERANCE)


def test_softmax_class_out_of_range() -> None:
    with pytest.raises(ValueError, match='softmax over 3 classes got class 3'):
        softmax_focal_loss(torch.randn(2, 3), torch.tensor([0, 3]))


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
def test_certain_answers_have_finite_gradients(gamma: float) -> None:
    logits = torch.tensor([[200.0, -200.0]] * 2, requires_grad=True)
    target = torch.tensor([0, 1])  # certainly right, certainly wrong
    loss = sigmoid_focal_loss(logits, target, gamma, 0.25, None, 'none')
    torch.testing.assert_close(loss, torch.tensor([[0, 0], [0.75 * 200, 0.25 * 200]]))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient, torch.tensor([[0, 0], [0.75, -0.25]]))

    loss = softmax_focal_loss(logits, target, gamma, 0.25, None, 'sum')
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient, torch.tensor([[0, 0], [0.25, -0.25]]))


def test_half_precision_keeps_its_dtype() -> None:
    loss = sigmoid_focal_loss(torch.full((1, 2), 80.0).half(), torch.tensor([0]), 2.0, 0.25, None, 'none')
    assert loss.dtype == torch.half
    # The wrong class: 0.75 * 80, which float16's own log of 1 - sigmoid makes infinite
    torch.testing.assert_close(loss.float(), torch.tensor([[0.0, 60.0]]))


def test_softmax_in_half_precision() -> None:
    logits = torch.tensor([[60.0, -60.0]]).half().requires_grad_()
    loss = softmax_focal_loss(logits, torch.tensor([1]), 2.0, 0.5, None, 'none')
    # The probability is 0 in float16, and 2 ** -126 the least that a logarithm is taken of
    torch.testing.assert_close(loss, torch.tensor([0.5 * 126 * 0.693147]).half())
