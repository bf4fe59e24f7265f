import pytest
import torch
from mmcv.ops import sigmoid_focal_loss


def by_hand(logits, target, gamma, alpha):
    """Equation 5 of Focal Loss for Dense Object Detection, box by box and class by class."""
    loss = torch.zeros_like(logits)
    for i in range(logits.shape[0]):
        for c in range(logits.shape[1]):
            p = torch.sigmoid(logits[i, c])
            positive = target[i] == c
            p_t, alpha_t = (p, alpha) if positive else (1 - p, 1 - alpha)
            loss[i, c] = -alpha_t * (1 - p_t) ** gamma * torch.log(p_t)
    return loss


@pytest.mark.parametrize(('reduction', 'reduce'), [('none', lambda x: x), ('sum', torch.sum)])
def test_loss_and_gradient_are_the_papers(reduction, reduce):
    logits = torch.randn(5, 3, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3, 3])  # 3 is the background
    ours = sigmoid_focal_loss(logits, target, 2.0, 0.25, None, reduction)
    expected = reduce(by_hand(logits, target, 2.0, 0.25))
    torch.testing.assert_close(ours, expected)
    (gradient,) = torch.autograd.grad(ours.sum(), logits)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(gradient, expected_gradient)


def test_half_precision_keeps_its_dtype():
    loss = sigmoid_focal_loss(torch.full((1, 2), 80.0).half(), torch.tensor([0]), 2.0, 0.25, None, 'none')
    assert loss.dtype == torch.half
    # The wrong class: 0.75 * 80, which float16's own log of 1 - sigmoid makes infinite
    torch.testing.assert_close(loss.float(), torch.tensor([[0.0, 60.0]]))


def test_class_weights_are_refused():
    with pytest.raises(NotImplementedError, match='Leave its weight out'):
        sigmoid_focal_loss(torch.randn(1, 2), torch.tensor([0]), 2.0, 0.25, torch.ones(2), 'none')
