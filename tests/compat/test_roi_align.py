"""Against RoIAlign's definition, a sample at a time in double precision."""

import math

import numpy as np
import pytest
import torch
import torchvision
from mmcv.ops import RoIAlign
from torch import Tensor

from mmconvnext.compat.ops import roi_align_cpu

pytestmark = pytest.mark.usefixtures('stand_in')

SCALE = 0.25
LAYOUTS = [torch.contiguous_format, torch.channels_last]
ROIS = torch.tensor(
    [
        [0, 3.0, 5.0, 30.0, 41.0],
        [1, 0.0, 0.0, 44.0, 36.0],  # the whole image
        [1, 20.0, 10.0, 20.0, 10.0],  # a point
        [0, -9.0, 30.0, 60.0, 50.0],  # over three edges
        [1, 400.0, 400.0, 420.0, 440.0],  # nowhere
    ]
)


def bilinear(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """(c,) from (c, h, w); the border's pixels reach a pixel beyond their centres, and then there is 0."""
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(len(image))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = min(int(y), max(height - 2, 0)), min(int(x), max(width - 2, 0))
    value = np.zeros(len(image))
    for row in (top, top + 1):
        for column in (left, left + 1):
            value += image[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return value


def definition(features: Tensor, rois: Tensor, size: tuple[int, int], sampling_ratio: int, aligned: bool) -> Tensor:
    """(n, c, *size) from (b, c, h, w) and (n, 5)."""
    images, rows, columns = features.double().numpy(), *size
    result = np.zeros((len(rois), images.shape[1], rows, columns))
    for n, (index, *corners) in enumerate(rois.double().tolist()):
        x1, y1, x2, y2 = (SCALE * corner - 0.5 * aligned for corner in corners)
        extent = (y2 - y1, x2 - x1) if aligned else (max(y2 - y1, 1), max(x2 - x1, 1))
        high, wide = extent[0] / rows, extent[1] / columns
        down, across = (sampling_ratio or math.ceil(cell) for cell in (high, wide))
        for i in range(rows):
            for j in range(columns):
                samples = [
                    bilinear(
                        images[int(index)], y1 + (i + (k + 0.5) / down) * high, x1 + (j + (m + 0.5) / across) * wide
                    )
                    for k in range(down)
                    for m in range(across)
                ]
                result[n, :, i, j] = np.mean(samples, axis=0) if samples else 0
    return torch.from_numpy(result)


@pytest.fixture
def features() -> Tensor:
    return torch.randn(2, 3, 9, 11)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 1, 2, 3])
@pytest.mark.parametrize('size', [(7, 7), (2, 3)])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_forward(
    features: Tensor, aligned: bool, sampling_ratio: int, size: tuple[int, int], layout: torch.memory_format
) -> None:
    features = features.contiguous(memory_format=layout)
    out = RoIAlign(size, SCALE, sampling_ratio, aligned=aligned)(features, ROIS)
    expected = definition(features, ROIS, size, sampling_ratio, aligned)
    torch.testing.assert_close(out, expected.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 2])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_gradient(aligned: bool, sampling_ratio: int, layout: torch.memory_format) -> None:
    layer = RoIAlign((2, 3), SCALE, sampling_ratio, aligned=aligned)
    features = torch.randn(2, 2, 5, 6, dtype=torch.double).contiguous(memory_format=layout).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x, ROIS.double()), features)


@pytest.mark.parametrize('layout', [torch.channels_last, 'strided'])
def test_any_memory_layout(features: Tensor, layout: torch.memory_format | str) -> None:
    other = (
        features.transpose(2, 3).contiguous().transpose(2, 3)
        if layout == 'strided'
        else features.to(memory_format=layout)
    )
    leaves = [tensor.clone(memory_format=torch.preserve_format).requires_grad_() for tensor in (features, other)]
    outs = [RoIAlign(7, SCALE, 2)(leaf, ROIS) for leaf in leaves]
    weight = torch.randn_like(outs[0]).transpose(2, 3)  # as heads with permuted outputs send it back
    for out in outs:
        (out * weight).sum().backward()
    torch.testing.assert_close(*outs)
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_no_rois(features: Tensor, layout: torch.memory_format) -> None:
    features = features.contiguous(memory_format=layout).requires_grad_()
    out = RoIAlign(7, SCALE)(features, ROIS[:0])
    assert out.shape == (0, 3, 7, 7)
    out.sum().backward()
    assert not features.grad.any()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_half_precision_computes_in_single(
    features: Tensor, dtype: torch.dtype, autocast: bool, layout: torch.memory_format
) -> None:
    half = features.to(dtype).contiguous(memory_format=layout).requires_grad_()
    single = half.detach().float().requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=autocast):
        out, expected = (RoIAlign(7, SCALE, 2)(tensor, ROIS) for tensor in (half, single))
    assert out.dtype == dtype
    assert expected.dtype == torch.float32
    assert torch.equal(out, expected.to(dtype))
    for tensor in (out, expected):
        tensor.sum().backward()
    assert torch.equal(half.grad, single.grad.to(dtype))


@pytest.mark.parametrize('channels', [1, 3])
def test_channels_last_is_what_torchvision_computes(channels: int) -> None:
    features = torch.randn(2, channels, 33, 47).contiguous(memory_format=torch.channels_last).requires_grad_()
    corners = torch.rand(40, 2) * torch.tensor([188, 132])
    index = torch.randint(2, (40, 1))
    rois = torch.cat([index, corners, corners + 90 * torch.rand(40, 2)], 1)
    out = RoIAlign((7, 5), SCALE)(features, rois)
    weight = torch.randn_like(out)
    (grad,) = torch.autograd.grad((out * weight).sum(), features)
    expected = torchvision.ops.roi_align(features, rois, (7, 5), SCALE, 0, aligned=True)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(grad, *torch.autograd.grad((expected * weight).sum(), features))


def test_channels_last_maps_are_not_copied(features: Tensor) -> None:
    features = features.contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.profiler.profile(record_shapes=True) as profile:
        RoIAlign(7, SCALE)(features, ROIS).sum().backward()
    copied = [event.input_shapes[0] for event in profile.events() if event.name == 'aten::copy_']
    assert copied  # of the cells
    assert list(features.shape) not in copied
    assert features.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    'rois', [[[0, -500.0, 2.0, 700.0, 90.0]], [[1, 0.0, 0.0, 188.0, 132.0]] * 3], ids=['long', 'many']
)
def test_rois_too_large_to_list_are_left_to_torchvision(monkeypatch: pytest.MonkeyPatch, rois: list) -> None:
    monkeypatch.setattr(roi_align_cpu, 'MOST_SAMPLES', 2 * 33 * 47)
    monkeypatch.setattr(roi_align_cpu, 'forward', None)
    monkeypatch.setattr(roi_align_cpu, 'backward', None)
    leaves = [torch.randn(2, 3, 33, 47).requires_grad_()]
    leaves.append(leaves[0].detach().contiguous(memory_format=torch.channels_last).requires_grad_())
    outs = [RoIAlign((7, 5), SCALE)(leaf, torch.tensor(rois)) for leaf in leaves]
    for out in outs:
        out.square().sum().backward()
    torch.testing.assert_close(*outs)
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_corners_that_are_no_numbers_leave_their_roi_empty(
    features: Tensor, layout: torch.memory_format, sampling_ratio: int
) -> None:
    rois = torch.cat([ROIS[:2], torch.tensor([[0, math.nan, 2, 9, 9], [0, -math.inf, 0, math.inf, 9]])])
    leaves = [features.contiguous(memory_format=layout).detach().requires_grad_() for _ in range(2)]
    outs = [RoIAlign(7, SCALE, sampling_ratio)(leaf, r) for leaf, r in zip(leaves, (rois, rois[:2]))]
    assert not outs[0][2:].any()
    torch.testing.assert_close(outs[0][:2], outs[1])
    for out in outs:
        out.sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)


def test_float32_maps_where_float64_is_the_default(features: Tensor) -> None:
    maps = features.contiguous(memory_format=torch.channels_last)
    expected = RoIAlign(7, SCALE)(maps, ROIS)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(RoIAlign(7, SCALE)(maps, ROIS), expected)
    finally:
        torch.set_default_dtype(torch.float32)
