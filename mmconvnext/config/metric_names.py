"""Checks, before any evaluation, the names of the metrics that hooks and schedules monitor."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from mmconvnext.config_tree import as_list, look_up
from mmconvnext.errors import UserError

# The metrics of MMSegmentation's IoUMetric, besides aAcc
OF_IOU_METRICS = {
    'mIoU': ('mIoU', 'mAcc'),
    'mDice': ('mDice', 'mAcc'),
    'mFscore': ('mFscore', 'mPrecision', 'mRecall'),
}
# The metrics of MMDetection's CocoMetric
OF_COCO_METRICS = {
    **{kind: tuple(f'{kind}_mAP{end}' for end in ('', '_50', '_75', '_s', '_m', '_l')) for kind in ('bbox', 'segm')},
    'proposal': ('AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000'),
}


def check_monitored(cfg: Config) -> None:
    """Checks that the metrics that hooks and schedules monitor are among those of the evaluators.

    Otherwise MMEngine would fail after the first evaluation. Only MMDetection's CocoMetric, MMSegmentation's
    IoUMetric and this package's TopKAccuracy are known here; with any other evaluator nothing is checked.

    Raises:
        UserError: If one is not. ``facts['key']`` is the setting, ``facts['names']`` the evaluators' metrics.
    """
    names: list[str] = []
    for evaluator in as_list(cfg.get('val_evaluator')) or [None]:
        of_one = _names(evaluator) if isinstance(evaluator, Mapping) else None
        if of_one is None:
            return
        names += of_one
    if look_up(cfg, ('val_cfg', 'type')) == 'TeacherStudentValLoop':  # evaluates both, the teacher first
        names = [f'{part}/{name}' for part in ('teacher', 'student') for name in names]
    for key, metric in _monitored(cfg):
        if metric not in names:
            raise UserError(
                f'{key} is {metric!r}, which val_evaluator does not give; it gives {", ".join(names)}. Add '
                f'--cfg-options {key}={names[1] if len(names) > 1 else names[0]}, or another of these.',
                key=key,
                names=names,
            )


def _names(evaluator: Mapping[str, Any]) -> list[str] | None:
    """Returns the names of an evaluator's metrics with their prefix, or None if the evaluator is not known here."""
    if evaluator.get('format_only') or evaluator.get('metric_items'):
        return None
    if evaluator.get('type') == 'IoUMetric':
        table, kinds, prefix, names = OF_IOU_METRICS, evaluator.get('iou_metrics', ['mIoU']), None, ['aAcc']
    elif evaluator.get('type') == 'CocoMetric':
        table, kinds, prefix, names = OF_COCO_METRICS, evaluator.get('metric', 'bbox'), 'coco', []
    elif evaluator.get('type') == 'TopKAccuracy':
        return [*(f'top-{k}' for k in evaluator.get('topk', (1, 5))), 'cross_entropy']
    else:
        return None
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind not in table:
            return None
        names += table[kind]
    prefix = evaluator.get('prefix') or prefix
    return [f'{prefix}/{name}' if prefix else name for name in dict.fromkeys(names)]


def _monitored(cfg: Config) -> Iterator[tuple[str, str]]:
    """Yields each setting that monitors a metric, with the metric."""
    save_best = look_up(cfg, ('default_hooks', 'checkpoint', 'save_best'))
    for metric in [save_best] if isinstance(save_best, str) else save_best or ():
        if metric != 'auto':
            yield 'default_hooks.checkpoint.save_best', metric
    for key in ('custom_hooks', 'param_scheduler'):
        for index, part in enumerate(as_list(cfg.get(key))):
            if isinstance(part, ConfigDict) and isinstance(part.get('monitor'), str) and part.monitor != 'loss':
                yield f'{key}.{index}.monitor', part.monitor
