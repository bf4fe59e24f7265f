"""Against PSANet's definition, a pair of pixels at a time."""

from types import ModuleType

import pytest
import torch
from mmcv.ops import PSAMask
from torch import Tensor

pytestmark = pytest.mark.usefixtures('stand_in')

MODES = ['collect', 'distribute']


def definition(masks: Tensor, mode: str, mask_size: tuple[int, int]) -> Tensor:
    """(n, h * w, h, w) from (n, h_mask * w_mask, h, w).

    The pixel (y, x) gives the pixel (v, u) the weight at v - y and u - x from the middle of its mask.
    """
    n, _, height, width = masks.shape
    high, wide = mask_size
    out = torch.zeros(n, height * width, height, width, dtype=masks.dtype)
    for y in range(height):
        for x in range(width):
            for v in range(height):
                for u in range(width):
                    row, column = v - y + (high - 1) // 2, u - x + (wide - 1) // 2
                    if 0 <= row < high and 0 <= column < wide:
                        weight = masks[:, row * wide + column, y, x]
                        if mode == 'collect':
                            out[:, v * width + u, y, x] = weight
                        else:
                            out[:, y * width + x, v, u] = weight
    return out


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('seed', range(20))
def test_forward_and_backward(mode: str, seed: int) -> None:
    torch.manual_seed(seed)
    n, height, width, high, wide = (torch.randint(1, most, ()).item() for most in (3, 6, 6, 11, 11))
    n *= seed > 0  # no images in the first case
    masks = torch.randn(n, high * wide, height, width, dtype=torch.double)
    if seed % 2:
        masks = masks.transpose(2, 3).contiguous().transpose(2, 3)
    masks.requires_grad_()
    out, expected = PSAMask(mode, (high, wide))(masks), definition(masks, mode, (high, wide))
    assert torch.equal(out, expected)
    grad = torch.randn_like(out).transpose(1, 2).contiguous().transpose(1, 2)
    gradients = [torch.autograd.grad(x, masks, grad)[0] for x in (out, expected)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize('mode', MODES)
def test_masks_of_psanet_reach_every_pixel(mode: str) -> None:
    masks = 1 + torch.rand(1, 9 * 7, 5, 4)  # 2 h - 1 by 2 w - 1
    assert PSAMask(mode, (9, 7))(masks).all()


def test_collect_and_distribute_are_the_reverse_of_each_other() -> None:
    masks = torch.randn(2, 15, 4, 6)
    collected, distributed = (PSAMask(mode, (3, 5))(masks).flatten(2) for mode in MODES)
    assert torch.equal(collected, distributed.transpose(1, 2))
    assert not torch.equal(collected, distributed)


@pytest.mark.parametrize('mode', [0, 1])
def test_what_no_mask_covers_is_zero(stand_in: ModuleType, mode: int) -> None:
    out, grad = torch.full((1, 6, 2, 3), 7.0), torch.full((1, 15, 2, 3), 7.0)
    numbers = dict(psa_type=mode, num_=1, h_feature=2, w_feature=3)
    small = dict(h_mask=1, w_mask=1, half_h_mask=0, half_w_mask=0)
    stand_in.psamask_forward(torch.ones(1, 1, 2, 3), out, **numbers, **small)
    assert torch.equal(out.view(6, 6), torch.eye(6))
    large = dict(h_mask=3, w_mask=5, half_h_mask=1, half_w_mask=2)
    stand_in.psamask_backward(torch.ones(1, 6, 2, 3), grad, **numbers, **large)
    assert grad.sum() == 36  # each pair of pixels once
