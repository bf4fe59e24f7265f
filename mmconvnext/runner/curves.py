"""The curves of a training: its loss and the metrics of each evaluation."""

import json
from pathlib import Path

from matplotlib.figure import Figure
from mmengine.runner import Runner

from mmconvnext.runner.metrics_table import NO_METRICS
from mmconvnext.whole_files import written_whole


def read_scalars(runner: Runner) -> tuple[list[dict], list[dict]]:
    """Returns the training and the validation records that MMEngine has logged, each with its ``step``.

    A resumed training also has the records of the earlier runs in the folder of its checkpoint. Each run counts up to
    the step where the next one began.
    """
    train: list[dict] = []
    val: list[dict] = []
    runs = {Path(runner.log_dir).resolve()}
    if runner.cfg.get('resume') and runner.cfg.get('load_from'):
        runs |= {path.resolve() for path in Path(runner.cfg['load_from']).parent.glob('*/')}
    for run in sorted(runs, key=lambda path: path.name):  # a run is named after the time when it began
        path = run / 'vis_data' / 'scalars.json'
        if not path.is_file():
            continue
        text = path.read_text()
        whole_lines = text[: text.rfind('\n') + 1]  # a killed run may leave an incomplete line
        records = [json.loads(line) for line in whole_lines.splitlines()]
        train = _continued(train, [r for r in records if 'loss' in r])
        val = _continued(val, [r for r in records if 'loss' not in r])
    return train, val


def _continued(records: list[dict], later: list[dict]) -> list[dict]:
    return [r for r in records if not later or r['step'] < later[0]['step']] + later


def draw_curves(train: list[dict], val: list[dict], path: Path) -> None:
    """Saves the training loss over the steps and the AP or mIoU of each evaluation, side by side."""
    figure = Figure(figsize=(10, 3.6), layout='constrained')  # without pyplot, which would choose a backend
    left, right = figure.subplots(1, 2)
    left.plot([r['step'] for r in train], [r['loss'] for r in train])
    left.set(title='training loss', xlabel='step', ylim=(0, None))
    wanted = {
        'coco/bbox_mAP_50': 'box AP50',
        'coco/segm_mAP_50': 'mask AP50',
        'coco/bbox_mAP': 'box AP',
        'coco/segm_mAP': 'mask AP',
        'mIoU': 'mIoU',
        'aAcc': 'aAcc',
    }
    found = {key for record in val for key, value in record.items() if isinstance(value, int | float)}
    if not found & wanted.keys():  # another evaluator's metrics
        wanted = {key: key.rpartition('/')[2] for key in sorted(found.difference(NO_METRICS))}
    for key, label in wanted.items():
        points = [(i + 1, r[key]) for i, r in enumerate(val) if key in r]
        if points:
            right.plot(*zip(*points), marker='o', label=label)
    right.set(title='validation', xlabel='evaluation', ylim=(0, None))
    right.xaxis.get_major_locator().set_params(integer=True)
    if right.lines:
        right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    with written_whole(path) as part:
        figure.savefig(part, dpi=120)
