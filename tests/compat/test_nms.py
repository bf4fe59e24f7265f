"""Against the definitions, a box at a time in plain Python."""

import math

import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms, nms, soft_nms
from torch import Tensor

pytestmark = pytest.mark.usefixtures('stand_in')

Box = list[float]


def iou(a: Box, b: Box, offset: int = 0) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + offset
    shared = max(width, 0) * max(height, 0)
    union = sum((x2 - x1 + offset) * (y2 - y1 + offset) for x1, y1, x2, y2 in (a, b)) - shared
    return shared / union if union else math.nan


def greedy(boxes: list[Box], scores: list[float], threshold: float, offset: int = 0) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if not any(iou(boxes[i], boxes[j], offset) > threshold for j in kept):
            kept.append(i)
    return kept


def soft(
    boxes: list[Box], scores: list[float], threshold: float, sigma: float, min_score: float, method: str, offset: int
) -> tuple[list[int], list[float]]:
    """As in mmcv's ``ops/csrc/pytorch/cpu/nms.cpp``: best and first swap, the last fills a gap."""
    left = list(enumerate(scores))
    i = 0
    while i < len(left):
        best = max(range(i, len(left)), key=lambda j: left[j][1])
        left[i], left[best] = left[best], left[i]
        j = i + 1
        while j < len(left):
            index, score = left[j]
            overlap = iou(boxes[left[i][0]], boxes[index], offset)
            if method == 'gaussian':
                score *= math.exp(-(overlap**2) / sigma)
            elif overlap >= threshold:
                score *= 1 - overlap if method == 'linear' else 0
            if score < min_score:
                left[j] = left[-1]
                left.pop()
            else:
                left[j] = (index, score)
                j += 1
        i += 1
    return [index for index, _ in left], [score for _, score in left]


def crowd(n: int, seed: int, ties: bool = False) -> tuple[Tensor, Tensor]:
    """(n, 4) boxes that overlap a lot, on eighths of a pixel so that float32 is exact, and (n,) scores."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 200, (n, 2), generator=generator) / 8
    size = torch.randint(1, 120, (n, 2), generator=generator) / 8
    scores = torch.rand(n, generator=generator)
    return torch.cat([corner, corner + size], dim=1), (scores * 4).ceil() / 4 if ties else scores


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.1, 0.5, 0.7])
@pytest.mark.parametrize('ties', [False, True])
def test_nms_is_greedy(threshold: float, offset: int, ties: bool) -> None:
    boxes, scores = crowd(80, seed=1, ties=ties)
    dets, kept = nms(boxes, scores, threshold, offset=offset)
    assert kept.tolist() == greedy(boxes.tolist(), scores.tolist(), threshold, offset)
    assert torch.equal(dets, torch.cat([boxes, scores[:, None]], dim=1)[kept])


def test_nms_keeps_at_the_threshold_and_drops_above() -> None:
    boxes = torch.tensor([[0, 0, 2, 2], [0, 0, 1, 2]]).float()
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.5)[1].tolist() == [0, 1]
    assert nms(boxes, scores, 0.499)[1].tolist() == [0]


def test_nms_filters_by_score_and_count() -> None:
    boxes, scores = crowd(60, seed=2)
    everything = [i for i in greedy(boxes.tolist(), scores.tolist(), 0.5) if scores[i] > 0.3]
    assert nms(boxes, scores, 0.5, score_threshold=0.3)[1].tolist() == everything
    assert nms(boxes, scores, 0.5, score_threshold=0.3, max_num=3)[1].tolist() == everything[:3]


def test_nms_of_numpy_arrays_and_of_nothing() -> None:
    boxes, scores = crowd(20, seed=3)
    dets, kept = nms(boxes.numpy(), scores.numpy(), 0.5)
    assert isinstance(dets, np.ndarray)
    assert kept.tolist() == greedy(boxes.tolist(), scores.tolist(), 0.5)
    dets, kept = nms(boxes[:0], scores[:0], 0.5)
    assert dets.shape == (0, 5)
    assert kept.dtype == torch.int64


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_nms_in_half_precision_computes_in_single(dtype: torch.dtype) -> None:
    boxes, scores = (tensor.to(dtype) for tensor in crowd(60, seed=4))
    with torch.autocast('cpu', enabled=dtype == torch.bfloat16):
        kept = nms(boxes, scores, 0.5)[1]
    assert kept.tolist() == greedy(boxes.tolist(), scores.tolist(), 0.5)


def test_boxes_without_area_overlap_nothing() -> None:
    boxes = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 2, 2]]).float()
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert nms(boxes, scores, 0.1)[1].tolist() == [0, 1, 2]
    assert soft_nms(boxes, scores, 0.1, method='linear')[1].tolist() == [0, 1, 2]


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('min_score', [0.0, 1e-3, 0.3])
def test_soft_nms_keeps_order_and_scores(method: str, offset: int, ties: bool, min_score: float) -> None:
    boxes, scores = crowd(50, seed=5, ties=ties)
    dets, kept = soft_nms(boxes, scores, 0.3, 0.5, min_score, method, offset)
    indices, lowered = soft(boxes.tolist(), scores.tolist(), 0.3, 0.5, min_score, method, offset)
    assert kept.tolist() == indices
    assert kept.dtype == torch.int64
    torch.testing.assert_close(dets, torch.cat([boxes[indices], torch.tensor(lowered)[:, None]], dim=1))


def test_soft_nms_of_nothing_and_of_boxes_with_gradient() -> None:
    boxes, scores = crowd(10, seed=6)
    dets, kept = soft_nms(boxes[:0], scores[:0])
    assert dets.shape == (0, 5)
    assert kept.shape == (0,)
    assert torch.equal(soft_nms(boxes.clone().requires_grad_(), scores)[1], soft_nms(boxes, scores)[1])


def test_soft_nms_leaves_its_input_alone() -> None:
    boxes, scores = crowd(30, seed=7)
    before = boxes.clone(), scores.clone()
    soft_nms(boxes, scores, method='gaussian')
    assert torch.equal(boxes, before[0])
    assert torch.equal(scores, before[1])


@pytest.mark.parametrize('split_thr', [10000, 10])
def test_batched_nms_goes_class_by_class(split_thr: int) -> None:
    boxes, scores = crowd(90, seed=8)
    classes = torch.arange(90) % 3
    dets, kept = batched_nms(boxes, scores, classes, dict(type='nms', iou_threshold=0.4, split_thr=split_thr))
    expected: list[int] = []
    for c in range(3):
        members = (classes == c).nonzero().flatten().tolist()
        picked = greedy([boxes[i].tolist() for i in members], [scores[i].item() for i in members], 0.4)
        expected += [members[i] for i in picked]
    assert kept.tolist() == sorted(expected, key=lambda i: -scores[i])
    assert torch.equal(dets, torch.cat([boxes, scores[:, None]], dim=1)[kept])


@pytest.mark.parametrize('split_thr', [10000, 10])
def test_batched_soft_nms_goes_class_by_class(split_thr: int) -> None:
    boxes, scores = crowd(40, seed=9)
    classes = torch.arange(40) % 2
    settings = dict(type='soft_nms', iou_threshold=0.3, min_score=0.05, split_thr=split_thr)
    dets, kept = batched_nms(boxes, scores, classes, settings)
    expected: dict[int, float] = {}
    for c in range(2):
        members = (classes == c).nonzero().flatten().tolist()
        picked, lowered = soft(boxes[members].tolist(), scores[members].tolist(), 0.3, 0.5, 0.05, 'linear', 0)
        expected |= {members[i]: score for i, score in zip(picked, lowered)}
    assert kept.tolist() == sorted(expected, key=lambda i: -expected[i])
    torch.testing.assert_close(dets[:, 4], torch.tensor([expected[i] for i in kept.tolist()]))
