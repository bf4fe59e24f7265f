"""NMS that keeps what it drops, called as ``mmcv/ops/nms.py`` calls the compiled one for PISA's sampler."""

import numpy as np
import torch
from torch import Tensor


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Group each box with those it suppresses (Cao et al., Prime Sample Attention, CVPR 2020, section 4.1).

    It suppresses from the threshold on, where :func:`mmconvnext.compat.ops.nms.nms` does so above it only.

    Args:
        dets: (n, 5) on the CPU, as (x1, y1, x2, y2, score), of any floating dtype.
        iou_threshold: The overlap from which a box joins the group of a better one.

    Returns:
        The indices of each group by descending score, so the kept box leads; the groups in the order of their kept
        boxes. Each box is in one group.
    """
    dets = dets.detach().to(torch.promote_types(dets.dtype, torch.float32))
    corners = dets[:, :4].numpy()
    area = (corners[:, 2:] - corners[:, :2]).prod(axis=1)

    groups = []
    left = dets[:, 4].argsort(descending=True, stable=True).numpy()
    while len(left):
        best, rest = left[0], left[1:]
        top_left = np.maximum(corners[best, :2], corners[rest, :2])
        bottom_right = np.minimum(corners[best, 2:], corners[rest, 2:])
        shared = (bottom_right - top_left).clip(min=0).prod(axis=1)
        with np.errstate(invalid='ignore'):  # two boxes without area: 0 / 0 is no overlap
            joins = shared / (area[best] + area[rest] - shared) >= iou_threshold
        groups.append([int(best), *rest[joins].tolist()])
        left = rest[~joins]
    return groups
