"""Notices a term of the loss that is always 0, so that nothing is learnt from it."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

STEPS = 10


@HOOKS.register_module()
class ZeroLossHook(Hook):
    """Warns once about losses that were exactly 0 in each of the first steps of a training.

    A head gives such a loss if it has no object to learn from. Without the warning the training would run to its end.

    Args:
        steps: How many steps to look at; fewer if the training is shorter.
    """

    def __init__(self, steps: int = STEPS) -> None:
        self.steps = steps
        self.zero: set[str] | None = None

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Looks at the losses of a step, and says what it found after the last one that it looks at."""
        if self.steps <= 0 or not outputs:
            return
        here = {name for name, value in outputs.items() if 'loss' in name and name != 'loss' and bool(value == 0)}
        self.zero = here if self.zero is None else self.zero & here
        self.steps -= 1
        if not self.zero:
            self.steps = 0
        elif self.steps == 0 or runner.iter + 1 >= runner.max_iters:
            self.steps = 0
            runner.logger.warning(
                f'{", ".join(sorted(self.zero))}: exactly 0 in every step so far, so nothing is learnt from it. Either '
                'no annotation is used (all of them crowds, ignored, of other classes, or without a mask), or the '
                'loss has a weight of 0.'
            )
