"""The reward by which the teacher of Meta Pseudo Labels learns whether its labels helped the student.

Source: arXiv 2003.10580, appendix A. With teacher T, student S, a pseudo label y drawn by the teacher for the image u,
and the student's step S' = S - lr * grad CE(y, S(u)), the gradient of the student's labelled loss by the teacher is,
for that y, ``h * grad CE(y, T(u))`` (equation 12) with ``h = lr * <grad loss(S'), grad CE(y, S(u))>``. By Taylor's
theorem the labelled loss before the step is that after it plus h and terms of the second order in lr:
``h = before - after``. So h is positive if the step helped, and descending on ``h * CE(y, T(u))`` then makes the
teacher surer of y.

The authors' code has ``after - before`` (google-research/meta_pseudo_labels/training_utils.py), the opposite sign, with
which a teacher is taught what harmed the student. The derivation is followed here.
"""

import torch
from torch import Tensor, nn


class MetaReward(nn.Module):
    """How much a student's step has lowered its loss on labelled images, against its average so far.

    A baseline that does not depend on the present pseudo label leaves the teacher's expected gradient as it is, since
    that of ``log T`` has the expectation 0. It lowers the variance: most steps help, whatever the label.

    Args:
        rate: How far the baseline moves to each reward, from 0 to 1. The authors' value is 0.01.

    Attributes:
        baseline (Tensor): The moving average of the rewards, a scalar that starts at 0. A buffer, so that a resumed
            training goes on with it.

    Raises:
        ValueError: If ``rate`` is out of range.
    """

    baseline: Tensor

    def __init__(self, rate: float = 0.01) -> None:
        super().__init__()
        if not 0 <= rate <= 1:
            raise ValueError(f'rate is {rate!r}; it must be from 0 to 1.')
        self.rate = rate
        self.register_buffer('baseline', torch.zeros(()))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Returns the factor of the teacher's loss on its own pseudo labels, and moves the baseline.

        Args:
            before: The student's loss on labelled images before its step on pseudo labels, a scalar.
            after: That on the same images after the step, with the same random numbers.

        Returns:
            ``before - after`` minus the baseline of the rewards up to now, a scalar without a gradient.
        """
        reward = (before - after).detach()
        advantage = reward - self.baseline
        self.baseline += self.rate * advantage
        return advantage
