"""The teacher as a moving average of the student, with a memory that fits the length of the training."""

from mmdet.engine.hooks import MeanTeacherHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmconvnext.errors import UserError


@HOOKS.register_module()
class RelativeMeanTeacherHook(MeanTeacherHook):
    """MMDetection's hook with a momentum for trainings of any length.

    After each step the teacher becomes ``(1 - momentum) * teacher + momentum * student``, and so remembers about
    ``1 / momentum`` steps. MMDetection's momentum of 0.001 is for 180 000 steps: after 300 it would leave the teacher
    three quarters of what it was at the start.

    Args:
        momentum: As MMDetection's; the least that there is.
        memory: The share of the training that the teacher remembers at most, above 0 and at most 1. A momentum of
            0.001 is less than a memory of 0.05 asks for only if the training has less than 20 000 steps.
        interval: As MMDetection's.
        skip_buffer: Whether the teacher keeps its own buffers, such as the statistics of batch norms. False, unlike
            MMDetection's: a teacher would keep the statistics that it began with.

    Raises:
        UserError: If ``memory`` is out of range.
    """

    def __init__(
        self, momentum: float = 0.001, memory: float = 0.05, interval: int = 1, skip_buffer: bool = False
    ) -> None:
        super().__init__(momentum, interval, skip_buffer)
        if not 0 < memory <= 1:
            raise UserError(f'memory of {type(self).__name__} is {memory!r}; it must be above 0 and at most 1.')
        self.memory = memory
        self.least = momentum

    def before_train(self, runner: Runner) -> None:
        """Sets the momentum by the length of the training; at its first step copies the student to the teacher."""
        updates = runner.max_iters / self.interval
        self.momentum = min(1.0, max(self.least, 1 / (self.memory * updates)))
        runner.logger.info(
            f'the teacher follows the student with momentum {self.momentum:.3g}: it remembers about '
            f'{self.interval / self.momentum:.0f} of {runner.max_iters} steps'
        )
        super().before_train(runner)
