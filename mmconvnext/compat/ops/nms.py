"""Greedy and soft non-maximum suppression, called as ``mmcv/ops/nms.py`` calls the compiled ones."""

import numpy as np
import torch
import torchvision
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Keep each box that overlaps no kept box of a higher score by more than ``iou_threshold``.

    Args:
        boxes: (n, 4) as (x1, y1, x2, y2).
        scores: (n,).
        iou_threshold: The overlap that is still allowed.
        offset: A box is x2 - x1 + offset wide: 0, or 1 where its corners name the outermost pixels.

    Returns:
        (k,) int64, the indices of the kept boxes by descending score.
    """
    # Half precision is too coarse for differences of coordinates, and has no kernel on the CPU.
    corners = boxes.float()
    if offset:
        corners = torch.cat([corners[:, :2], corners[:, 2:] + offset], dim=1)
    return torchvision.ops.nms(corners, scores.float(), iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Lower the score of each box that overlaps a better one (Bodla et al., ICCV 2017).

    Between equal scores the order of the boxes decides, so the order is that of the compiled operator
    at every step: the best box swaps places with the first, the last fills the gap of a dropped one.

    Args:
        boxes: (n, 4) on the CPU, as (x1, y1, x2, y2).
        scores: (n,) on the CPU.
        dets: (n, 5) on the CPU; its first k rows are overwritten with the kept boxes and their scores.
        iou_threshold: The overlap from which the naive and the linear method act.
        sigma: Of the gaussian method.
        min_score: A box is dropped once its score is below.
        method: What multiplies the score: 0 naive, 0; 1 linear, 1 - IoU; 2 gaussian, exp(-IoU^2 / sigma).
        offset: As in :func:`nms`.

    Returns:
        (k,) int64, the indices of the kept boxes in the order of ``dets``.
    """
    corners, score = boxes.detach().float().numpy(), scores.detach().float().numpy().copy()
    area = (corners[:, 2:] - corners[:, :2] + offset).prod(axis=1)
    iou_threshold, sigma, min_score = np.array([iou_threshold, sigma, min_score], dtype=np.float32)
    order = np.arange(len(score), dtype=np.int64)

    i, n = 0, len(order)
    while i < n:
        candidates = score[order[i:n]]
        if not np.isnan(candidates[0]):  # no score is greater than a NaN, nor a NaN than any score
            best = i + int(np.nanargmax(candidates))
            order[[i, best]] = order[[best, i]]

        first, rest = order[i], order[i + 1 : n]
        top_left = np.maximum(corners[first, :2], corners[rest, :2])
        bottom_right = np.minimum(corners[first, 2:], corners[rest, 2:])
        shared = (bottom_right - top_left + offset).clip(min=0).prod(axis=1)
        with np.errstate(invalid='ignore'):  # two boxes without area: 0 / 0 is no overlap
            overlap = shared / (area[first] + area[rest] - shared)

        if method == 2:
            score[rest] *= np.exp(-(overlap * overlap) / sigma)
        else:
            hit = overlap >= iou_threshold
            score[rest[hit]] *= 1 - overlap[hit] if method == 1 else 0

        kept = ~(score[rest] < min_score)
        k = np.count_nonzero(kept)
        # The gaps fill from the front, with what is left at the back.
        rest[:k][~kept[:k]] = rest[k:][kept[k:]][::-1]
        i, n = i + 1, i + 1 + k

    keep = torch.from_numpy(order[:n])
    dets[:n, :4], dets[:n, 4] = boxes[keep], torch.from_numpy(score)[keep]
    return keep
