"""The average of the weights is timm's, once for each step of the optimizer."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper
from timm.utils import ModelEmaV3
from torch import nn

from mmconvnext.classification import StepEMAHook


@pytest.mark.parametrize('accumulated', [1, 4])
def test_average_is_timms_over_the_steps(accumulated: int) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0), accumulative_counts=accumulated)
    wrapper.initialize_count_status(model, 0, 6 * accumulated)
    hook = StepEMAHook(momentum=0.1)
    runner = SimpleNamespace(model=model, optim_wrapper=wrapper, iter=0)
    hook.before_run(runner)
    theirs = None
    for batch in range(6 * accumulated):
        wrapper.update_params(model(torch.randn(4, 3)).square().mean())
        hook.after_train_iter(runner, batch)
        if (batch + 1) % accumulated == 0:
            if theirs is None:  # MMEngine starts from the weights after the first step
                theirs = ModelEmaV3(model, decay=0.9)
            else:
                theirs.update(model)
    assert theirs is not None
    for ours, expected in zip(hook.ema_model.module.parameters(), theirs.module.parameters()):
        torch.testing.assert_close(ours, expected)
    assert not torch.allclose(model.weight, theirs.module.weight)
