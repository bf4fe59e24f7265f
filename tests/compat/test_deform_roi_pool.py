"""Against the definition of deformable RoI pooling, a sample at a time in double precision."""

import math
from types import ModuleType

import numpy as np
import pytest
import torch
from mmcv.ops import DeformRoIPool, DeformRoIPoolPack, ModulatedDeformRoIPoolPack, RoIAlign, deform_roi_pool
from torch import Tensor

from mmconvnext.compat.ops import cells
from tests.compat.conftest import random_rois

pytestmark = pytest.mark.usefixtures('stand_in')


def neighbours(at: float, size: int) -> tuple[int, int, float]:
    """The pixels on both sides, and the part of the second; the border's reach a pixel beyond their centres."""
    on_map = min(max(at, 0), size - 1)
    low = int(on_map)
    return low, min(low + 1, size - 1), on_map - low


def definition(
    features: Tensor,
    rois: Tensor,
    offset: Tensor | None,
    grad_output: Tensor,
    scale: float,
    sampling_ratio: int,
    gamma: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, and the gradients of (output * grad_output).sum() for the features and the offsets."""
    images, grads = features.double().numpy(), grad_output.double().numpy()
    (height, width), (rows, columns) = images.shape[2:], grads.shape[2:]
    moves = np.zeros((len(rois), 2, rows, columns)) if offset is None else offset.double().numpy()
    output, grad_features, grad_offset = np.zeros_like(grads), np.zeros_like(images), np.zeros_like(moves)
    for n, (index, *corners) in enumerate(rois.double().tolist()):
        image, grad_image = images[int(index)], grad_features[int(index)]
        x1, y1, x2, y2 = (scale * corner - 0.5 for corner in corners)
        high, wide = (y2 - y1) / rows, (x2 - x1) / columns
        down, across = (max(sampling_ratio or math.ceil(round(side, 6)), 0) for side in (high, wide))
        for i, j, k, m in np.ndindex(rows, columns, down, across):
            y = y1 + gamma * (y2 - y1) * moves[n, 1, i, j] + (i + (k + 0.5) / down) * high
            x = x1 + gamma * (x2 - x1) * moves[n, 0, i, j] + (j + (m + 0.5) / across) * wide
            if not (-1 <= y <= height and -1 <= x <= width):
                continue
            top, bottom, lower = neighbours(y, height)
            left, right, righter = neighbours(x, width)
            grad = grads[n, :, i, j] / (down * across)
            for row, row_weight in ((top, 1 - lower), (bottom, lower)):
                for column, column_weight in ((left, 1 - righter), (right, righter)):
                    output[n, :, i, j] += row_weight * column_weight * image[:, row, column] / (down * across)
                    grad_image[:, row, column] += row_weight * column_weight * grad
            # mmcv weighs the slopes by the distances of the place itself, also where it is not on the map
            slope_x = (bottom - y) * (image[:, top, right] - image[:, top, left])
            slope_x += (y - top) * (image[:, bottom, right] - image[:, bottom, left])
            slope_y = (right - x) * (image[:, bottom, left] - image[:, top, left])
            slope_y += (x - left) * (image[:, bottom, right] - image[:, top, right])
            grad_offset[n, 0, i, j] += gamma * (x2 - x1) * (slope_x @ grad)
            grad_offset[n, 1, i, j] += gamma * (y2 - y1) * (slope_y @ grad)
    return tuple(map(torch.from_numpy, (output, grad_features, grad_offset)))


@pytest.mark.parametrize('with_offset', [True, False])
@pytest.mark.parametrize('seed', range(20))
def test_definition(seed: int, with_offset: bool) -> None:
    rng = np.random.default_rng(seed)
    batch, channels, height, width, rows, columns = rng.integers(1, [4, 4, 12, 12, 6, 6]).tolist()
    scale, sampling_ratio, gamma = [1, 0.5, 0.3][seed % 3], seed % 4, [0.1, 0.5][seed % 2]
    features = torch.from_numpy(rng.normal(size=(batch, channels, height, width))).requires_grad_()
    rois = random_rois(rng, 5, batch, height / scale, width / scale)
    rois[0, 3:] = rois[0, 1:3]  # a point
    offset = torch.from_numpy(rng.normal(size=(5, 2, rows, columns))).requires_grad_() if with_offset else None

    output = DeformRoIPool((rows, columns), scale, sampling_ratio, gamma)(features, rois, offset)
    grad_output = torch.from_numpy(rng.normal(size=output.shape))
    output.backward(grad_output)
    moves = None if offset is None else offset.detach()
    expected = definition(features.detach(), rois, moves, grad_output, scale, sampling_ratio, gamma)
    torch.testing.assert_close(output, expected[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(features.grad, expected[1], rtol=1e-9, atol=1e-9)
    if offset is not None:
        torch.testing.assert_close(offset.grad, expected[2], rtol=1e-9, atol=1e-9)


def test_gradcheck_inside() -> None:
    features = torch.randn(2, 2, 9, 8, dtype=torch.double, requires_grad=True)
    rois = torch.tensor([[0, 6.1, 6.2, 22, 25], [1, 8.3, 7.4, 20, 30]]).double()
    offset = torch.rand(2, 2, 2, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, o: deform_roi_pool(x, rois, o, (2, 3), 0.25, 2, 0.1), (features, offset))


@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_without_offsets_it_is_roi_align(sampling_ratio: int) -> None:
    features, rois = torch.randn(2, 3, 9, 11), random_rois(np.random.default_rng(0), 6, 2, 36, 44).float()
    expected = RoIAlign((3, 4), 0.25, sampling_ratio)(features, rois)
    torch.testing.assert_close(deform_roi_pool(features, rois, None, (3, 4), 0.25, sampling_ratio), expected)


@pytest.mark.parametrize('pack', [DeformRoIPoolPack, ModulatedDeformRoIPoolPack])
def test_packs(pack: type[DeformRoIPool]) -> None:
    features = torch.randn(2, 3, 9, 11, dtype=torch.double, requires_grad=True)
    rois = torch.tensor([[0, 6.1, 6.2, 22, 25], [1, 8.3, 7.4, 30, 30]]).double()
    layer = pack((2, 3), 3, 8, 0.25, 2, 0.1).double()
    torch.nn.init.normal_(layer.offset_fc[-1].weight)
    if hasattr(layer, 'mask_fc'):
        torch.nn.init.normal_(layer.mask_fc[2].weight)
    output = layer(features, rois)
    # It pools, computes the offsets from that, and pools again
    pooled = definition(features.detach(), rois, None, torch.zeros_like(output), 0.25, 2, 0.1)[0].flatten(1)
    offset = layer.offset_fc(pooled).view(2, 2, 2, 3)
    grad_output = torch.randn_like(output)
    mask = layer.mask_fc(pooled).view(2, 1, 2, 3) if hasattr(layer, 'mask_fc') else 1
    expected, _, grad_offset = definition(
        features.detach(), rois, offset.detach(), (grad_output * mask).detach(), 0.25, 2, 0.1
    )
    torch.testing.assert_close(output, expected * mask)
    output.backward(grad_output)
    assert features.grad.any()
    last = layer.offset_fc[-1]
    torch.testing.assert_close(last.bias.grad, grad_offset.flatten(1).sum(0))


def test_what_the_gradients_are_written_to(stand_in: ModuleType) -> None:
    features, rois = torch.randn(2, 3, 5, 6).double(), torch.tensor([[1, 1.0, 2, 5, 4]]).double()
    offset, grad_output = torch.rand(1, 2, 2, 2).double(), torch.randn(1, 3, 2, 2).double()
    grads = torch.ones_like(features), torch.ones_like(offset)
    stand_in.deform_roi_pool_backward(grad_output, features, rois, offset, *grads, 2, 2, 1.0, 2, 0.1)
    expected = definition(features, rois, offset, grad_output, 1.0, 2, 0.1)
    for grad, added in zip(grads, expected[1:]):
        torch.testing.assert_close(grad, 1 + added)


def test_what_is_no_number_samples_nothing() -> None:
    features = torch.randn(1, 2, 5, 5, requires_grad=True)
    rois = torch.tensor([[0, 0.0, 0, 4, 4], [0, math.nan, 0, 4, 4], [0, 0, 0, math.inf, 4], [0, 0, 0, 4, 4]])
    offset = torch.zeros(4, 2, 2, 2)
    offset[3] = math.nan
    offset.requires_grad_()
    for sampling_ratio in (0, 2):
        output = deform_roi_pool(features, rois, offset, (2, 2), 1.0, sampling_ratio)
        assert output[0].all()
        assert not output[1:].any()
        output[1:].sum().backward()
        assert not features.grad.any()
        assert not offset.grad.any()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_computes_in_single(dtype: torch.dtype) -> None:
    rois = torch.tensor([[0, 1.0, 2, 30, 20], [1, 3.0, 3, 17, 33]])
    half = [torch.randn(2, 3, 9, 11).to(dtype).requires_grad_(), torch.rand(2, 2, 3, 2).to(dtype).requires_grad_()]
    single = [leaf.detach().float().requires_grad_() for leaf in half]
    outs = [deform_roi_pool(x, rois.to(x.dtype), offset, (3, 2), 0.25, 2) for x, offset in (half, single)]
    assert outs[0].dtype == dtype
    assert torch.equal(outs[0], outs[1].to(dtype))
    for out in outs:
        out.sum().backward()
    for a, b in zip(half, single):
        assert torch.equal(a.grad, b.grad.to(dtype))


def test_no_rois() -> None:
    features = torch.randn(2, 3, 5, 6, requires_grad=True)
    output = deform_roi_pool(features, torch.empty(0, 5), torch.empty(0, 2, 2, 2), (2, 2))
    assert output.shape == (0, 3, 2, 2)
    output.sum().backward()
    assert not features.grad.any()


def test_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    features, rois = torch.randn(2, 3, 9, 9), random_rois(np.random.default_rng(0), 9, 2, 9, 9).float()
    expected = deform_roi_pool(features, rois, None, (3, 3), 1.0, 2)
    monkeypatch.setattr(cells, 'MOST_VALUES', 300)
    assert torch.equal(deform_roi_pool(features, rois, None, (3, 3), 1.0, 2), expected)
