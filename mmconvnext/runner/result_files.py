"""Writes the files of results: one for each image, and each of them complete."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from PIL import Image

from mmconvnext.whole_files import written_whole


class ResultNames:
    """Gives the result of each image a name, without a suffix, that no other image's result has.

    If all images are in one folder, a result has its image's name. Otherwise the name starts with the folders below
    the one that all images share. Where two names differ only in their suffix, as ``a.png`` and ``a.jpg``, the suffix
    stays in the name.

    Args:
        paths: The paths of all images.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        folders = {os.path.dirname(os.path.abspath(path)) for path in paths}
        self.root = os.path.commonpath(folders) if folders else os.getcwd()
        self.count = Counter(self._relative(path) for path in dict.fromkeys(paths))

    def of(self, path: str) -> str:
        """Returns the name of an image's result, with ``/`` between folders."""
        name = self._relative(path)
        return name if self.count[name] < 2 else name + os.path.splitext(path)[1]

    def _relative(self, path: str) -> str:
        return Path(os.path.relpath(os.path.splitext(os.path.abspath(path))[0], self.root)).as_posix()


def result_names(dataset: Any) -> ResultNames:
    """Returns the names for the results of a dataset's images."""
    return ResultNames([str(dataset.get_data_info(index)['img_path']) for index in range(len(dataset))])


@HOOKS.register_module()
class LabelMapsHook(Hook):
    """Writes the label map of each test image as a PNG, in the numbers of the dataset's own label maps.

    MMSegmentation's IoUMetric would overwrite one map by another where images in different folders have the same name.

    Args:
        folder: The folder of the label maps.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def before_test(self, runner: Runner) -> None:
        """Looks up the names of all images."""
        self.names = result_names(runner.test_dataloader.dataset)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Writes the batch's label maps."""
        for data_sample in outputs:
            labels = data_sample.pred_sem_seg.data.squeeze(0).cpu().numpy()  # (H, W)
            if data_sample.get('reduce_zero_label', False):
                labels = labels + 1  # 0 is no class in the dataset's maps
            path = self.folder / f'{self.names.of(data_sample.img_path)}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as part:
                Image.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16)).save(part)


@HOOKS.register_module()
class FinishedFileHook(Hook):
    """Gives a file of test results its name when it is complete, so that an earlier file is never half-overwritten.

    Args:
        unfinished: The name under which it is written.
        finished: The name that it gets.
    """

    def __init__(self, unfinished: str, finished: str) -> None:
        self.unfinished, self.finished = unfinished, finished

    @master_only
    def after_test(self, runner: Runner) -> None:
        """Renames the file."""
        Path(self.unfinished).replace(self.finished)
