import pytest
import torch
from torch.nn import functional as F

from mmconvnext.kernels.cpu import depthwise_gradients


# Within one tile, exactly on its edge, and one past it
@pytest.mark.parametrize(('height', 'width'), [(1, 2), (6, 9), (25, 50), (26, 51), (80, 33)])
@pytest.mark.parametrize('elements', [1, depthwise_gradients.WINDOW_ELEMENTS])
def test_gradients_are_those_of_autograd_in_float64(
    height: int, width: int, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depthwise_gradients, 'WINDOW_ELEMENTS', elements)
    torch.manual_seed(0)
    x = torch.randn(2, 5, height, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 1, 7, 7, dtype=torch.float64, requires_grad=True)
    grad = torch.randn_like(x)
    F.conv2d(x, weight, padding=3, groups=5).backward(grad)
    x32, grad32 = (t.detach().float().contiguous(memory_format=torch.channels_last) for t in (x, grad))
    found = depthwise_gradients.weight_gradient(x32, grad32)
    assert (found - weight.grad).norm() <= 1e-6 * weight.grad.norm()
    found = depthwise_gradients.input_gradient(grad32, weight.detach().float())
    assert (found - x.grad).norm() <= 1e-6 * x.grad.norm()
