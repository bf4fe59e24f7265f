"""Passes over images that cannot be read, so that one of a million does not end a training of days, and names them."""

from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmconvnext.datasets.errors import DataError
from mmconvnext.runner.loading import FileError


class PassingOverDataset(BaseDataset):
    """A dataset in which the next image takes the place of one that cannot be read.

    ``skipped`` of the sample says what was passed over and why, by path, and :class:`SkippedImagesHook` logs it.
    """

    def prepare_data(self, idx: int) -> Any:
        """Loads the image of an index or, where it cannot be read, the next one that can.

        Raises:
            DataError: If no image can be read.
        """
        skipped: dict[str, str] = {}
        for offset in range(len(self)):
            try:
                sample = super().prepare_data((idx + offset) % len(self))
            except FileError as error:
                skipped[error.facts['path']] = str(error)
                continue
            sample['data_samples'].set_metainfo(dict(skipped=skipped))
            return sample
        raise DataError(f'None of the {len(self)} images can be read. The first: {next(iter(skipped.values()))}')


@HOOKS.register_module()
class SkippedImagesHook(Hook):
    """Logs, once, each image that a :class:`PassingOverDataset` passed over.

    Each process immediately logs the images of its own data. After the training the first one logs the total.
    """

    def __init__(self) -> None:
        self.skipped: dict[str, str] = {}

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Logs the images that were passed over in this batch for the first time."""
        for sample in data_batch['data_samples']:
            for path, why in sample.get('skipped', {}).items():
                if path not in self.skipped:
                    self.skipped[path] = why
                    runner.logger.warning(f'an image is passed over: {why}')

    def after_train(self, runner: Runner) -> None:
        """Says how many images were passed over."""
        skipped = {path for of_process in all_gather_object(list(self.skipped)) for path in of_process}
        if skipped and is_main_process():
            total = len(runner.train_dataloader.dataset)
            runner.logger.warning(f'{len(skipped)} of {total} images could not be read and were passed over')
