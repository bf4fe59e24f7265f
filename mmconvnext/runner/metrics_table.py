"""The table of metrics that ends a training or a test."""

from collections.abc import Mapping
from typing import Any

import numpy as np

COCO_COLUMNS = {'AP': '', 'AP50': '_50', 'AP75': '_75', 'AP small': '_s', 'AP medium': '_m', 'AP large': '_l'}
IOU_COLUMNS = ('mIoU', 'mAcc', 'aAcc', 'mDice', 'mFscore', 'mPrecision', 'mRecall')  # in percent
NO_METRICS = ('step', 'time', 'data_time')  # MMEngine logs these with the metrics


def metrics_table(metrics: Mapping[str, Any]) -> str:
    """Returns a text table of an evaluator's metrics, each in the evaluator's own unit.

    COCO's AP has a row for boxes and a row for masks, with a dash where the data has no object of that size. All other
    metrics share one row under their names. MMSegmentation's mIoU, mDice and so on are in percent; the recall of
    proposals and Pascal VOC's AP are fractions of 1.
    """
    lines = []
    rest = {name: value for name, value in metrics.items() if isinstance(value, int | float | np.floating)}
    for row, prefix in (('box', 'coco/bbox_mAP'), ('mask', 'coco/segm_mAP')):
        if prefix in metrics:
            values = [rest.pop(prefix + suffix, -1) for suffix in COCO_COLUMNS.values()]
            lines.append(f'{row:<6}' + ''.join(f'{v:11.3f}' if v >= 0 else f'{"-":>11}' for v in values))
    if lines:
        lines.insert(0, '      ' + ''.join(f'{name:>11}' for name in COCO_COLUMNS))
    names = sorted((name for name in rest if name not in NO_METRICS), key=lambda name: (*IOU_COLUMNS, name).index(name))
    if names:
        shown = {name.rpartition('/')[2]: f'{rest[name]:.{2 if name in IOU_COLUMNS else 3}f}' for name in names}
        width = max(8, *map(len, shown))
        lines.append('  '.join(f'{name:>{width}}' for name in shown))
        lines.append('  '.join(f'{value:>{width}}' for value in shown.values()))
    return '\n'.join(lines)
