"""Draws pictures of results. Those of detectors and segmentors have the ground truth on the left."""

import copy
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.structures import PixelData

from mmconvnext.runner.result_files import result_names
from mmconvnext.whole_files import written_whole

SCORE_THRESHOLD = 0.5  # only detections above this score are drawn
SIDE = 400  # pixels; in smaller pictures the visualizer's labels would cover the objects


def draw_result(visualizer: Any, data_sample: Any, path: Path) -> None:
    """Saves an image with its ground truth on the left and its result on the right. A small image is enlarged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = mmcv.imread(data_sample.img_path, channel_order='rgb')
    times = -(-SIDE // min(image.shape[:2]))
    image = image.repeat(times, 0).repeat(times, 1)
    sample = _enlarged(data_sample.cpu(), times)
    options = {} if 'pred_sem_seg' in sample else {'pred_score_thr': SCORE_THRESHOLD}
    with written_whole(path) as part:
        visualizer.add_datasample(path.stem, image, sample, draw_gt=True, out_file=str(part), **options)


def _enlarged(data_sample: Any, times: int) -> Any:
    """Returns a copy of a data sample whose boxes, masks and label maps fit an image ``times`` as large."""
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
    """Runs the model on ``count`` validation images, if the config has any, and saves a picture of each.

    The images are spread evenly over the whole set, which may be sorted by class.
    """
    if runner.val_loop is None:
        return []
    runner.model.eval()
    dataset = runner.val_dataloader.dataset
    runner.visualizer.dataset_meta = dataset.metainfo
    names = result_names(dataset)
    paths = []
    for index in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int).tolist():
        with torch.no_grad():
            (data_sample,) = runner.model.val_step(pseudo_collate([dataset[index]]))
        paths.append(folder / f'{names.of(data_sample.img_path)}.png')
        draw_result(runner.visualizer, data_sample, paths[-1])
    return paths


@HOOKS.register_module()
class ResultPicturesHook(Hook):
    """Saves a picture of every test image, with the ground truth on the left and the result on the right.

    Args:
        folder: The folder of the pictures.
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
