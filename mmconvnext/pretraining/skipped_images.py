"""Names the images that could not be read during a pre-training."""

from typing import Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class SkippedImagesHook(Hook):
    """Logs, once, each image that :class:`~mmconvnext.pretraining.unlabelled_images.UnlabelledImages` passed over.

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
