"""A moving average of the weights over the optimizer's steps."""

from typing import Any

from mmengine.hooks import EMAHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class StepEMAHook(EMAHook):
    """MMEngine's EMAHook, which counts steps of the optimizer in place of batches.

    Where several batches are accumulated for a step, the average of the authors' code moves once in a step; MMEngine's
    would move as many times as there are batches, and so forget too soon. ``momentum`` is 1 minus the decay that the
    papers give: 1e-4 for 0.9999. Evaluations and checkpoints have the averaged weights.
    """

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Moves the average if the optimizer has made a step."""
        if runner.optim_wrapper.should_update():
            super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def after_train(self, runner: Runner) -> None:
        """Leaves the average in the model, so that the pictures are of what was evaluated and saved."""
        self.before_val_epoch(runner)
