"""Against the definition, a box at a time in plain Python."""

import math
from types import ModuleType

import numpy as np
import pytest
import torch
from mmcv.ops import nms_match
from torch import Tensor

pytestmark = pytest.mark.usefixtures('stand_in')

Box = list[float]


def iou(a: Box, b: Box) -> float:
    width, height = (max(min(a[i + 2], b[i + 2]) - max(a[i], b[i]), 0) for i in (0, 1))
    union = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2, _ in (a, b)) - width * height
    return width * height / union if union else math.nan


def definition(dets: list[Box], threshold: float) -> list[list[int]]:
    """A box joins the best of the kept boxes that it overlaps enough; kept boxes overlap none of the better kept."""
    groups: list[list[int]] = []
    for i in sorted(range(len(dets)), key=lambda i: -dets[i][4]):
        for group in groups:
            if iou(dets[group[0]], dets[i]) >= threshold:
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def crowd(n: int, seed: int) -> Tensor:
    """(n, 5) dets that overlap a lot, on eighths of a pixel so that float32 is exact, with scores that repeat."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 80, (n, 2), generator=generator) / 8
    size = torch.randint(0, 80, (n, 2), generator=generator) / 8  # some without area
    scores = torch.randint(0, n + 1, (n, 1), generator=generator) / 64
    return torch.cat([corner, corner + size, scores], dim=1)


@pytest.mark.parametrize('seed', range(20))
def test_groups(seed: int) -> None:
    n, threshold = 2 * seed, [0.1, 0.3, 0.5, 0.7][seed % 4]
    dets = crowd(n, seed)
    groups = nms_match(dets, threshold)
    assert [group.tolist() for group in groups] == definition(dets.tolist(), threshold)
    assert all(group.dtype == torch.int64 for group in groups)
    assert sorted(torch.cat([*groups, torch.empty(0)]).tolist()) == list(range(n))


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_numpy_arrays(dtype: type) -> None:
    dets = crowd(30, seed=1).numpy().astype(dtype)
    groups = nms_match(dets, 0.4)
    assert all(isinstance(group, np.ndarray) for group in groups)
    assert [group.tolist() for group in groups] == definition(dets.tolist(), 0.4)


@pytest.mark.parametrize(('threshold', 'groups'), [(0.5, [[1, 0]]), (0.501, [[1], [0]])])
def test_joins_at_the_threshold(threshold: float, groups: list[list[int]]) -> None:
    dets = torch.tensor([[0, 0, 1, 2, 0.8], [0, 0, 2, 2, 0.9]])
    assert [group.tolist() for group in nms_match(dets, threshold)] == groups


def test_threshold_is_as_coarse_as_the_boxes() -> None:
    dets = torch.tensor([[0, 0, 10, 1, 0.9], [0, 0, 1, 1, 0.8]])
    # In double precision 0.1 is less than float32's 1 / 10, and 0.7 more than its 7 / 10
    assert len(nms_match(dets, 0.1)) == 1
    dets[1, 2] = 7
    assert len(nms_match(dets, 0.7)) == 1


def test_a_suppressed_box_suppresses_none() -> None:
    dets = torch.tensor([[0, 0, 4, 1, 0.9], [2, 0, 6, 1, 0.8], [4, 0, 8, 1, 0.7]])  # each overlaps the next by 1 / 3
    assert [group.tolist() for group in nms_match(dets, 0.3)] == [[0, 1], [2]]


def test_boxes_with_gradient_and_none_at_all(stand_in: ModuleType) -> None:
    dets = crowd(10, seed=2)
    groups = [group.tolist() for group in nms_match(dets, 0.3)]
    assert [group.tolist() for group in nms_match(dets.requires_grad_(), 0.3)] == groups
    assert stand_in.nms_match(torch.empty(0, 5), iou_threshold=0.5) == []


def test_half_precision_computes_in_single() -> None:
    dets = crowd(40, seed=3)
    dets[:, :4] *= 32  # areas beyond float16
    dets = dets.half()
    assert [group.tolist() for group in nms_match(dets, 0.5)] == definition(dets.tolist(), 0.5)
