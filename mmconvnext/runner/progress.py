"""A progress bar with rate and time left, for training and evaluation."""

import sys
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from tqdm import tqdm


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Shows one bar over the whole training, and one over each evaluation.

    On a terminal it is redrawn twice a second; in a log file a line appears once a minute.
    """

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self._bars: dict[str, tqdm] = {}

    def before_train(self, runner: Runner) -> None:
        """Opens the bar over all training steps, at the step that training resumes from."""
        self._open('train', runner.max_iters, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Counts one training step, with the loss beside it."""
        if outputs and 'loss' in outputs and 'train' in self._bars:
            self._bars['train'].set_postfix(loss=f'{outputs["loss"].item():.3f}', refresh=False)
        self._step('train')

    def after_train(self, runner: Runner) -> None:
        """Closes the bar."""
        self._close('train')

    def before_val_epoch(self, runner: Runner) -> None:
        """Opens the bar over the validation images."""
        self._open('val', len(runner.val_dataloader))

    def after_val_iter(self, *args: Any, **kwargs: Any) -> None:
        """Counts one validation batch."""
        self._step('val')

    def after_val_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Closes the bar."""
        self._close('val')

    def before_test_epoch(self, runner: Runner) -> None:
        """Opens the bar over the test images."""
        self._open('test', len(runner.test_dataloader))

    def after_test_iter(self, *args: Any, **kwargs: Any) -> None:
        """Counts one test batch."""
        self._step('test')

    def after_test_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Closes the bar."""
        self._close('test')

    def _open(self, name: str, total: int, initial: int = 0) -> None:
        if is_main_process():
            # tqdm puts one bar below the other by codes that move a terminal's cursor. In a file they are noise
            where = dict(mininterval=0.5) if sys.stderr.isatty() else dict(mininterval=60, position=0)
            self._bars[name] = tqdm(desc=name, total=total, initial=initial, dynamic_ncols=True, leave=False, **where)

    def _step(self, name: str) -> None:
        if name in self._bars:
            self._bars[name].update()

    def _close(self, name: str) -> None:
        if name in self._bars:
            self._bars.pop(name).close()
