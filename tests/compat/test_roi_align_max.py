"""Against the definition of RoIAlign with pool_mode='max', a sample at a time in double precision."""

import math
from types import ModuleType

import numpy as np
import pytest
import torch
from mmcv.ops import RoIAlign, roi_align
from torch import Tensor

from mmconvnext.compat.ops import cells
from tests.compat.conftest import random_rois

pytestmark = pytest.mark.usefixtures('stand_in')

NOTHING = -10000  # what mmcv starts from on the CPU


def hats(at: float, size: int) -> np.ndarray:
    """The weight of each of the pixels along an axis; the border's reach a pixel beyond their centres."""
    if not -1 <= at <= size:
        return np.zeros(size)
    return np.maximum(1 - abs(min(max(at, 0), size - 1) - np.arange(size)), 0)


def definition(
    features: Tensor, rois: Tensor, size: tuple[int, int], scale: float, sampling_ratio: int, aligned: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cells, rows and columns of the largest samples, and how the cells depend on the pixels: (n, c, *size, h, w)."""
    images = features.double().numpy()
    channels, height, width = images.shape[1:]
    shape = len(rois), channels, *size
    result, y, x = np.full(shape, NOTHING, dtype=float), np.full(shape, -1.0), np.full(shape, -1.0)
    jacobian = np.zeros((*shape, height, width))
    for n, (index, *corners) in enumerate(rois.double().tolist()):
        x1, y1, x2, y2 = (scale * corner - 0.5 * aligned for corner in corners)
        extent = (y2 - y1, x2 - x1) if aligned else (max(y2 - y1, 1), max(x2 - x1, 1))
        high, wide = extent[0] / size[0], extent[1] / size[1]
        down, across = (sampling_ratio or math.ceil(round(cell, 6)) for cell in (high, wide))
        for i, j, k, m in np.ndindex(*size, max(down, 0), max(across, 0)):
            row, column = y1 + (i + (k + 0.5) / down) * high, x1 + (j + (m + 0.5) / across) * wide
            weights = np.outer(hats(row, height), hats(column, width))
            for c in range(channels):
                value = (weights * images[int(index), c]).sum()
                # Sums in another order differ in their last digits: the first of equals is the first of nearly equals
                if value > result[n, c, i, j] + 1e-12:
                    result[n, c, i, j], y[n, c, i, j], x[n, c, i, j] = value, row, column
                    jacobian[n, c, i, j] = weights
    return tuple(map(torch.from_numpy, (result, y, x, jacobian)))


@pytest.mark.parametrize('seed', range(24))
def test_definition(seed: int, stand_in: ModuleType) -> None:
    rng = np.random.default_rng(seed)
    batch, channels, height, width, rows, columns = rng.integers(1, [4, 4, 12, 12, 6, 6]).tolist()
    scale, sampling_ratio, aligned = [1, 0.5, 0.3][seed % 3], seed % 4, bool(seed % 2)
    features = torch.from_numpy(rng.normal(size=(batch, channels, height, width)))
    if seed % 5 == 0:  # samples of the same value: the first counts
        features = features.round()
    rois = random_rois(rng, 5, batch, height / scale, width / scale)
    rois[0, 3:] = rois[0, 1:3]  # a point
    expected, y, x, jacobian = definition(features, rois, (rows, columns), scale, sampling_ratio, aligned)

    leaf = features.clone().requires_grad_()
    output = RoIAlign((rows, columns), scale, sampling_ratio, 'max', aligned)(leaf, rois)
    torch.testing.assert_close(output, expected, rtol=1e-9, atol=1e-9)
    grad_output = torch.from_numpy(rng.normal(size=output.shape))
    output.backward(grad_output)
    grad = torch.zeros_like(features).index_add_(
        0, rois[:, 0].long(), torch.einsum('ncij,ncijhw->nchw', grad_output, jacobian)
    )
    torch.testing.assert_close(leaf.grad, grad, rtol=1e-9, atol=1e-9)

    written = [torch.randn_like(output) for _ in range(3)]
    stand_in.roi_align_forward(features, rois, *written, rows, columns, scale, sampling_ratio, 0, aligned)
    for tensor, wanted in zip(written, (expected, y, x)):
        torch.testing.assert_close(tensor, wanted, rtol=1e-9, atol=1e-9)


def test_samples_are_counted_in_single_precision() -> None:
    features, rois = torch.randn(1, 1, 9, 9).double(), torch.tensor([[0, 0, 0, 9 + 1e-9, 9]], dtype=torch.double)
    counted, given = (roi_align(features, rois, 3, 1.0, count, 'max', True) for count in (0, 3))
    assert torch.equal(counted, given)
    assert not torch.equal(counted, roi_align(features, rois, 3, 1.0, 4, 'max', True))


def test_gradcheck() -> None:
    features = torch.randn(2, 2, 6, 5, dtype=torch.double, requires_grad=True)
    rois = torch.tensor([[0, 1.0, 2, 15, 17], [1, -3.0, 0, 20, 9]]).double()
    assert torch.autograd.gradcheck(lambda x: roi_align(x, rois, (2, 3), 0.25, 2, 'max', True), features)


def test_nothing_but_outside() -> None:
    # 0 is larger than all pixels; it comes from none of them
    features = torch.full((1, 1, 4, 4), -1.0, requires_grad=True)
    output = roi_align(features, torch.tensor([[0, 2.0, 0, 8, 4]]), (1, 2), 1.0, 2, 'max', True)
    assert output.flatten().tolist() == [-1, 0]
    output.sum().backward()
    assert features.grad.sum() == 1


def test_values_below_what_mmcv_starts_from() -> None:
    features = torch.full((1, 1, 4, 4), -20000.0, requires_grad=True)
    output = roi_align(features, torch.tensor([[0, 1.0, 1, 3, 3]]), 1, 1.0, 2, 'max', True)
    assert output.item() == NOTHING
    output.sum().backward()
    assert not features.grad.any()


def test_pixels_that_are_no_numbers() -> None:
    features = torch.ones(1, 1, 4, 6)
    features[..., :2] = math.nan  # upper left is what samples outside would look at
    features.requires_grad_()
    output = roi_align(features, torch.tensor([[0, 0.0, 0, 6, 4], [0, 0.0, 8, 6, 9]]), (1, 1), 1.0, 2, 'max', True)
    assert output.flatten().tolist() == [1, 0]
    output.sum().backward()
    assert features.grad.sum() == 1


@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_corners_that_are_no_numbers_leave_their_roi_empty(sampling_ratio: int) -> None:
    features = torch.randn(1, 2, 5, 5, requires_grad=True)
    rois = torch.tensor([[0, 0.0, 0, 4, 4], [0, math.nan, 0, 4, 4], [0, 0, 0, math.inf, 4], [math.nan, 0, 0, 4, 4]])
    output = roi_align(features, rois, 2, 1.0, sampling_ratio, 'max', True)
    assert output[0].all()
    assert not output[1:].any()
    output[1:].sum().backward()
    assert not features.grad.any()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_computes_in_single(dtype: torch.dtype) -> None:
    half = torch.randn(2, 3, 9, 11).to(dtype).requires_grad_()
    single = half.detach().float().requires_grad_()
    rois = torch.tensor([[0, 1.0, 2, 30, 20], [1, 3.0, 3, 17, 33]])
    outs = [roi_align(leaf, rois.to(leaf.dtype), (4, 2), 0.25, 2, 'max', True) for leaf in (half, single)]
    assert outs[0].dtype == dtype
    assert torch.equal(outs[0], outs[1].to(dtype))
    for out in outs:
        out.sum().backward()
    # mmcv stores the places of the samples in the dtype of the features
    torch.testing.assert_close(half.grad.float(), single.grad, rtol=0.02, atol=0.02)


def test_layouts() -> None:
    leaves = [torch.randn(2, 3, 6, 7).requires_grad_()]
    leaves.append(leaves[0].detach().contiguous(memory_format=torch.channels_last).requires_grad_())
    rois = torch.tensor([[0, 1.0, 2, 30, 20], [1, 3.0, 3, 17, 33]])
    outs = [roi_align(leaf, rois, (3, 2), 0.25, 0, 'max', True) for leaf in leaves]
    weight = torch.randn_like(outs[0]).transpose(2, 3).contiguous().transpose(2, 3)
    for out in outs:
        (out * weight).sum().backward()
    assert torch.equal(*outs)
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)


def test_no_rois() -> None:
    features = torch.randn(2, 3, 5, 6, requires_grad=True)
    output = roi_align(features, torch.empty(0, 5), 7, 1.0, 0, 'max', True)
    assert output.shape == (0, 3, 7, 7)
    output.sum().backward()
    assert not features.grad.any()


def test_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    features, rois = torch.randn(2, 3, 9, 9), random_rois(np.random.default_rng(0), 9, 2, 9, 9).float()
    expected = roi_align(features, rois, 3, 1.0, 2, 'max', True)
    monkeypatch.setattr(cells, 'MOST_VALUES', 300)
    assert torch.equal(roi_align(features, rois, 3, 1.0, 2, 'max', True), expected)
