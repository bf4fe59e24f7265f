"""Against RoI pooling's definition, a cell at a time."""

import math
from types import ModuleType

import numpy as np
import pytest
import torch
import torchvision
from mmcv.ops import RoIPool, roi_pool
from torch import Tensor

from mmconvnext.compat.ops import cells
from tests.compat.conftest import random_rois

pytestmark = pytest.mark.usefixtures('stand_in')


def definition(features: Tensor, rois: Tensor, size: tuple[int, int], scale: float) -> tuple[Tensor, np.ndarray]:
    """(n, c, *size), and for each of its elements the row and the column it comes from, or -1, -1."""
    images = features.double().numpy()
    height, width = images.shape[2:]
    result, source = np.zeros((len(rois), images.shape[1], *size)), np.full((len(rois), images.shape[1], *size, 2), -1)
    for n, (index, x1, y1, x2, y2) in enumerate(rois.double().tolist()):
        x1, y1, x2, y2 = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
        if x2 <= x1 or y2 <= y1:
            continue
        for i in range(size[0]):
            for j in range(size[1]):
                # Of 1.9999999999999998 the floor is 2
                edges = y1 + i * (y2 - y1) / size[0], y1 + (i + 1) * (y2 - y1) / size[0]
                rows = range(max(math.floor(round(edges[0], 9)), 0), min(math.ceil(round(edges[1], 9)), height))
                edges = x1 + j * (x2 - x1) / size[1], x1 + (j + 1) * (x2 - x1) / size[1]
                columns = range(max(math.floor(round(edges[0], 9)), 0), min(math.ceil(round(edges[1], 9)), width))
                for c in range(images.shape[1]):
                    best = -math.inf
                    for row in rows:
                        for column in columns:
                            if images[int(index), c, row, column] > best:
                                best = images[int(index), c, row, column]
                                result[n, c, i, j], source[n, c, i, j] = best, (row, column)
    return torch.from_numpy(result), source


def gradient(source: np.ndarray, rois: Tensor, grad_output: Tensor, shape: torch.Size) -> Tensor:
    grad = torch.zeros(shape, dtype=torch.double)
    for n, c, i, j in np.ndindex(source.shape[:4]):
        row, column = source[n, c, i, j]
        if row >= 0:
            grad[int(rois[n, 0]), c, row, column] += grad_output[n, c, i, j]
    return grad


@pytest.mark.parametrize('seed', range(20))
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_definition(seed: int, layout: torch.memory_format) -> None:
    rng = np.random.default_rng(seed)
    batch, channels, height, width, rows, columns = rng.integers(1, [4, 4, 12, 12, 8, 8]).tolist()
    scale = [1, 0.5, 0.25, 0.3][seed % 4]
    # Few values, so that many are equal
    features = torch.from_numpy(rng.integers(-4, 5, (batch, channels, height, width))).double()
    if seed % 2:
        features += torch.from_numpy(rng.normal(size=features.shape))
    rois = random_rois(rng, 6, batch, height / scale, width / scale)
    rois[::2] = rois[::2].round()

    leaf = features.contiguous(memory_format=layout).requires_grad_()
    output = RoIPool((rows, columns), scale)(leaf, rois)
    expected, source = definition(features.detach(), rois, (rows, columns), scale)
    assert torch.equal(output, expected)
    grad_output = torch.from_numpy(rng.normal(size=output.shape))
    output.backward(grad_output)
    torch.testing.assert_close(leaf.grad, gradient(source, rois, grad_output, leaf.shape))


def test_corners_are_not_rounded() -> None:
    features = torch.tensor([[[[1.0, 5, 2, 9]]]])
    rois = torch.tensor([[0, 1.0, 0, 1, 1], [0, 3.0, 0, 3, 1]])  # 0.5 to 1, and 1.5 to 2
    assert roi_pool(features, rois, (1, 1), 0.5).flatten().tolist() == [1, 5]
    assert torchvision.ops.roi_pool(features, rois, (1, 1), 0.5).flatten().tolist() == [5, 2]


def test_places(stand_in: ModuleType) -> None:
    features = torch.randn(2, 3, 6, 7)
    rois = torch.tensor([[1, 0.0, 0, 6, 5], [0, 20, 20, 30, 30], [0, 5.0, 5, 3, 3], [0, -3.0, 1, 2, 2]])
    output, argmax = torch.randn(4, 3, 2, 3), torch.randint(9, (4, 3, 2, 3), dtype=torch.int)
    stand_in.roi_pool_forward(features, rois, output, argmax, 2, 3, 1.0)
    expected, source = definition(features, rois, (2, 3), 1.0)
    torch.testing.assert_close(output, expected.float())
    place = np.where(source[..., 0] < 0, -1, source[..., 0] * 7 + source[..., 1])
    assert argmax.dtype == torch.int
    assert np.array_equal(argmax.numpy(), place)
    assert (place[1:3] == -1).all()  # outside, and without area
    assert (place[0] >= 0).all()

    grad = torch.ones_like(features)
    stand_in.roi_pool_backward(torch.ones_like(output), rois, argmax, grad, 2, 3, 1.0)
    torch.testing.assert_close(
        grad.double(), 1 + gradient(source, rois, torch.ones(output.shape).double(), features.shape)
    )


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_corners_that_are_no_numbers_leave_their_roi_empty(value: float) -> None:
    features = torch.randn(1, 2, 5, 5, requires_grad=True)
    rois = torch.tensor([[0, 0.0, 0, 4, 4]]).repeat(6, 1)
    rois[1:].fill_diagonal_(value)
    output = roi_pool(features, rois, (2, 2))
    assert not output[1:].any()
    output[1:].sum().backward()
    assert not features.grad.any()
    assert output[0].all()


def test_pixels_that_are_no_numbers_are_not_the_largest() -> None:
    features = torch.tensor([[[[math.nan, -3, -2, -math.inf], [math.nan, math.nan, -math.inf, math.nan]]]])
    features.requires_grad_()
    output = roi_pool(features, torch.tensor([[0, 0.0, 0, 3, 0], [0, 0.0, 1, 3, 1]]), (1, 1))
    assert output.flatten().tolist() == [-2, torch.finfo(torch.float32).min]  # the second is what mmcv starts from
    output.sum().backward()
    assert features.grad.flatten().nonzero().tolist() == [[2]]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    half = torch.randn(2, 3, 9, 11).to(dtype).requires_grad_()
    single = half.detach().float().requires_grad_()
    rois = torch.tensor([[0, 1.0, 2, 30, 20], [1, 3.0, 3, 17, 33]])
    outs = [roi_pool(leaf, rois.to(leaf.dtype), (3, 2), 0.3) for leaf in (half, single)]
    assert outs[0].dtype == dtype
    assert torch.equal(outs[0].float(), outs[1])
    for out in outs:
        out.sum().backward()
    assert torch.equal(half.grad.float(), single.grad)


def test_no_rois() -> None:
    features = torch.randn(2, 3, 5, 6, requires_grad=True)
    output = roi_pool(features, torch.empty(0, 5), (7, 7))
    assert output.shape == (0, 3, 7, 7)
    output.sum().backward()
    assert not features.grad.any()


def test_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    features, rois = torch.randn(2, 3, 9, 9), random_rois(np.random.default_rng(0), 9, 2, 9, 9).float()
    expected = roi_pool(features, rois, (3, 3))
    monkeypatch.setattr(cells, 'MOST_VALUES', 30)
    assert torch.equal(roi_pool(features, rois, (3, 3)), expected)
