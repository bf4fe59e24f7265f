"""What a run leaves to look at: a table of its metrics, its curves, and pictures of what the model finds."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import mmcv
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.structures import PixelData

from mmconvnext.engine.result_files import result_names

matplotlib.use('Agg')
import matplotlib.pyplot as plt

COCO_COLUMNS = {'AP': '', 'AP50': '_50', 'AP75': '_75', 'AP small': '_s', 'AP medium': '_m', 'AP large': '_l'}
IOU_COLUMNS = ('mIoU', 'mAcc', 'aAcc', 'mDice', 'mFscore', 'mPrecision', 'mRecall')  # in percent
NO_METRICS = ('step', 'time', 'data_time')  # which MMEngine logs beside them
SCORE_THRESHOLD = 0.5  # of a detection that is drawn
PICTURE_SIDE = 400  # pixels; below it, the visualizer's labels would cover the objects


def metrics_table(metrics: Mapping[str, Any]) -> str:
    """Text table of an evaluator's metrics, each as its evaluator gives it.

    COCO's AP of boxes and masks has a row each, with a dash where the data has no object of that size. All others stand
    beside each other by their names: MMSegmentation's mIoU, mDice and so on in percent, recall of proposals and
    Pascal VOC's AP as fractions of 1.
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


def read_scalars(runner: Runner) -> tuple[list[dict], list[dict]]:
    """Training and validation records that MMEngine has logged, each with its ``step``.

    Of a training that was resumed, those of the earlier runs beside its checkpoint too, up to where the next began.
    """
    train: list[dict] = []
    val: list[dict] = []
    runs = {Path(runner.log_dir).resolve()}
    if runner.cfg.get('resume') and runner.cfg.get('load_from'):
        runs |= {path.resolve() for path in Path(runner.cfg['load_from']).parent.glob('*/')}
    for run in sorted(runs, key=lambda path: path.name):  # the time at which each began
        path = run / 'vis_data' / 'scalars.json'
        if not path.is_file():
            continue
        text = path.read_text()
        whole_lines = text[: text.rfind('\n') + 1]  # a run that was killed may leave part of one
        records = [json.loads(line) for line in whole_lines.splitlines()]
        train = _continued(train, [r for r in records if 'loss' in r])
        val = _continued(val, [r for r in records if 'loss' not in r])
    return train, val


def _continued(records: list[dict], later: list[dict]) -> list[dict]:
    return [r for r in records if not later or r['step'] < later[0]['step']] + later


def draw_curves(train: list[dict], val: list[dict], path: Path) -> None:
    """Saves the training loss over the steps and the AP or mIoU of each evaluation, side by side."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout='constrained')
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
    if not found & wanted.keys():  # of another evaluator
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
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_result(visualizer: Any, data_sample: Any, path: Path) -> None:
    """Saves one image with its ground truth on the left and the model's result on the right; a small one enlarged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = mmcv.imread(data_sample.img_path, channel_order='rgb')
    times = -(-PICTURE_SIDE // min(image.shape[:2]))
    image = image.repeat(times, 0).repeat(times, 1)
    sample = _enlarged(data_sample.cpu(), times)
    options = {} if 'pred_sem_seg' in sample else {'pred_score_thr': SCORE_THRESHOLD}
    visualizer.add_datasample(path.stem, image, sample, draw_gt=True, out_file=str(path), **options)


def _enlarged(data_sample: Any, times: int) -> Any:
    """A copy of a data sample whose boxes, masks and label maps fit an image that many times as large."""
    sample = copy.deepcopy(data_sample)
    for name in ('gt_instances', 'pred_instances'):
        instances = sample.get(name, {})
        if 'bboxes' in instances:
            instances.bboxes = times * getattr(instances.bboxes, 'tensor', instances.bboxes)
        if 'masks' in instances:
            masks = instances.masks if isinstance(instances.masks, torch.Tensor) else instances.masks.to_ndarray()
            instances.masks = np.asarray(masks).repeat(times, 1).repeat(times, 2)  # (n, H, W), enlarged
    for name in ('gt_sem_seg', 'pred_sem_seg'):
        if name in sample:
            labels = sample.get(name).data.repeat_interleave(times, 1).repeat_interleave(times, 2)  # (1, H, W)
            setattr(sample, name, PixelData(data=labels))
    return sample


def draw_results(runner: Runner, folder: Path, count: int) -> list[Path]:
    """Runs the model on the first ``count`` validation images and saves a picture of each; none without validation."""
    if runner.val_loop is None:
        return []
    runner.model.eval()
    dataset = runner.val_dataloader.dataset
    runner.visualizer.dataset_meta = dataset.metainfo
    names = result_names(dataset)
    paths = []
    for index in range(min(count, len(dataset))):
        with torch.no_grad():
            (data_sample,) = runner.model.val_step(pseudo_collate([dataset[index]]))
        paths.append(folder / f'{names.of(data_sample.img_path)}.png')
        draw_result(runner.visualizer, data_sample, paths[-1])
    return paths


@HOOKS.register_module()
class ResultPicturesHook(Hook):
    """Saves a picture of every test image, ground truth on the left and result on the right.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def before_test(self, runner: Runner) -> None:
        """Looks up the names of all images, and gives the visualizer the names and colours of the classes."""
        self.names = result_names(runner.test_dataloader.dataset)
        runner.visualizer.dataset_meta = runner.test_dataloader.dataset.metainfo

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Draws the batch's images."""
        for data_sample in outputs:
            draw_result(runner.visualizer, data_sample, self.folder / f'{self.names.of(data_sample.img_path)}.png')
