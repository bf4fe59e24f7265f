"""Against convolution's definition, an output pixel at a time in plain Python."""

from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import MaskedConv2d
from torch import Tensor

pytestmark = [
    pytest.mark.usefixtures('stand_in'),
    pytest.mark.filterwarnings('ignore:This overload of addmm is deprecated'),  # mmcv calls it
]


def definition(conv: MaskedConv2d, image: Tensor, mask: Tensor) -> Tensor:
    """(1, o, h, w) from (1, c, h, w) and (1, h, w): 0 where the mask is."""
    pad_h, pad_w = conv.padding
    _, channels, height, width = image.shape
    kernel_h, kernel_w = conv.kernel_size
    out = torch.zeros(
        1, conv.out_channels, height + 2 * pad_h - kernel_h + 1, width + 2 * pad_w - kernel_w + 1, dtype=torch.double
    )
    for o in range(out.shape[1]):
        for y in range(height):
            for x in range(width):
                if not mask[0, y, x] > 0:
                    continue
                total = conv.bias[o].item()
                for c in range(channels):
                    for i in range(kernel_h):
                        for j in range(kernel_w):
                            row, column = y + i - pad_h, x + j - pad_w
                            if 0 <= row < height and 0 <= column < width:
                                total += conv.weight[o, c, i, j].item() * image[0, c, row, column].item()
                out[0, o, y, x] = total
    return out


@pytest.mark.parametrize('seed', range(20))
def test_pixels_of_the_mask_are_convolved(seed: int) -> None:
    torch.manual_seed(seed)
    channels, out_channels, height, width = (torch.randint(1, most, ()).item() for most in (4, 4, 7, 7))
    pad = (seed % 3, seed // 3 % 3)
    conv = MaskedConv2d(channels, out_channels, (2 * pad[0] + 1, 2 * pad[1] + 1), padding=pad).double()
    image = torch.randn(1, channels, height, width, dtype=torch.double)
    if seed % 2:
        image = image.contiguous(memory_format=torch.channels_last)
    mask = torch.randint(-1, 2, (1, height, width)).double()  # mmcv takes what is above 0
    if seed == 0:
        mask.zero_()
    with torch.no_grad():
        torch.testing.assert_close(conv(image, mask), definition(conv, image, mask), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(('kernel', 'pad'), [((1, 1), (1, 2)), ((2, 4), (1, 2)), ((2, 2), (1, 1)), ((3, 1), (2, 0))])
def test_outputs_larger_than_the_image(kernel: tuple[int, int], pad: tuple[int, int]) -> None:
    conv = MaskedConv2d(2, 3, kernel, padding=pad).double()
    image, mask = torch.randn(1, 2, 4, 5, dtype=torch.double), torch.randint(2, (1, 4, 5))
    with torch.no_grad():
        torch.testing.assert_close(conv(image, mask), definition(conv, image, mask), rtol=1e-6, atol=1e-9)


def test_outputs_smaller_than_the_image() -> None:
    conv = MaskedConv2d(2, 3, 3).double()
    image, mask = torch.randn(1, 2, 5, 6, dtype=torch.double), torch.zeros(1, 5, 6)
    mask[0, 2, 3] = 1  # the last pixel of the output
    with torch.no_grad():
        torch.testing.assert_close(conv(image, mask), definition(conv, image, mask), rtol=1e-6, atol=1e-9)
        mask[0, 3, 3] = 1
        with pytest.raises(IndexError, match='index 3 is out of bounds'):
            conv(image, mask)


def test_windows_that_hang_over_see_zeros(stand_in: ModuleType) -> None:
    image = torch.arange(1.0, 7).view(1, 1, 2, 3)
    columns = torch.full((4, 2), torch.nan)
    place = torch.tensor([1, 0]), torch.tensor([2, 1])
    stand_in.masked_im2col_forward(image, *place, columns, kernel_h=2, kernel_w=2, pad_h=0, pad_w=0)
    assert columns.T.tolist() == [[6, 0, 0, 0], [2, 3, 5, 6]]


def test_other_pixels_stay(stand_in: ModuleType) -> None:
    image = torch.zeros(1, 2, 2, 2)
    place = torch.tensor([1, 0]), torch.tensor([0, 1])
    stand_in.masked_col2im_forward(
        torch.tensor([[1.0, 2], [3, 4]]).half(), *place, image, height=2, width=2, channels=2
    )
    assert image.tolist() == [[[[0, 2], [1, 0]], [[0, 4], [3, 0]]]]


def test_a_full_mask_is_a_convolution() -> None:
    conv = MaskedConv2d(5, 7, 3, padding=1)
    image = torch.randn(1, 5, 33, 47)
    with torch.no_grad():
        torch.testing.assert_close(
            conv(image, torch.ones(1, 33, 47)), F.conv2d(image, conv.weight, conv.bias, padding=1)
        )
