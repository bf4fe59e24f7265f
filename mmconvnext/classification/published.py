"""Says what the authors published for weights beside what an evaluation reached."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmconvnext.checkpoints.manifest import find

IMAGES = 50_000  # of ImageNet's validation set


@HOOKS.register_module()
class PublishedAccuracyHook(Hook):
    """Logs the published top-1 accuracy of weights that are recognised by their name, after a test.

    It warns where the test is another than the published one: other classes, fewer images, or another size.

    Args:
        checkpoint: As the user named it: a short name, an address, or a file that has the published file's name.
    """

    def __init__(self, checkpoint: str) -> None:
        self.weights = find(checkpoint)
        self.side: int | None = None

    def before_test(self, runner: Runner) -> None:
        """Checks that the folders are ImageNet's, since the numbers of the classes follow from their names."""
        from timm.data import ImageNetInfo

        classes = runner.test_dataloader.dataset.metainfo['classes']
        synsets = ImageNetInfo().label_names()
        if self.weights and len(classes) == len(synsets) and list(classes) != synsets:
            wrong = next(name for name, synset in zip(classes, synsets) if name != synset)
            runner.logger.warning(
                f"{self.weights.name} numbers ImageNet's classes in the order of their synsets, and the folders are "
                f'others, such as {wrong}: rename them to synsets such as {synsets[0]}, or the accuracy is of chance'
            )

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Remembers the size of the images."""
        self.side = data_batch['inputs'][0].shape[-1]

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Logs what was published."""
        if self.weights is None or not metrics or 'top-1' not in metrics:
            return
        name, published = self.weights.name, self.weights.published.get('top-1')
        if published is None:
            runner.logger.info(f'{name}: the authors give no accuracy of these weights')
            return
        reached = metrics['top-1']
        runner.logger.info(
            f'{name}: top-1 {reached:.3f} % here, {published:.1f} % published ({reached - published:+.3f})'
        )
        images = len(runner.test_dataloader.dataset)
        if images != IMAGES:
            runner.logger.warning(f'the published accuracy is of {IMAGES} images, and this one of {images}')
        if self.side != self.weights.side:
            runner.logger.warning(
                f'the published accuracy is of images of {self.weights.side} pixels, and this one of {self.side}: take '
                'the config of that size'
            )
