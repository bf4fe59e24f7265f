import io
import sys
from types import SimpleNamespace

import pytest
import torch

from mmconvnext.runner import progress
from mmconvnext.runner.progress import ProgressBarHook


@pytest.fixture
def bars(monkeypatch):
    """Every bar that was opened."""
    opened = []

    class Recorded(progress.tqdm):
        def __init__(self, **options):
            super().__init__(**options)
            self.closed = False
            opened.append(self)

        def close(self):
            self.closed = True
            super().close()

    monkeypatch.setattr(progress, 'tqdm', Recorded)
    return opened


@pytest.fixture
def runner():
    return SimpleNamespace(iter=0, max_iters=10, val_dataloader=range(3), test_dataloader=range(4))


def test_training_counts_from_the_step_it_resumes_at(bars, runner):
    hook = ProgressBarHook()
    runner.iter = 6
    hook.before_train(runner)
    (bar,) = bars
    assert (bar.desc, bar.n, bar.total) == ('train', 6, 10)
    for batch in range(3):
        hook.after_train_iter(runner, batch, outputs={'loss': torch.tensor(0.12345)})
    assert bar.n == 9
    assert bar.postfix == 'loss=0.123'
    assert not bar.closed
    hook.after_train(runner)
    assert bar.closed


def test_evaluations_have_a_bar_each(bars, runner):
    hook = ProgressBarHook()
    hook.before_train(runner)
    for _ in range(2):
        hook.before_val_epoch(runner)
        hook.after_val_iter(runner, 0)
        hook.after_val_epoch(runner)
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0)
    hook.after_test_iter(runner, 1)
    hook.after_test_epoch(runner)
    assert [(bar.desc, bar.n, bar.total, bar.closed) for bar in bars] == [
        ('train', 0, 10, False),
        ('val', 1, 3, True),
        ('val', 1, 3, True),
        ('test', 2, 4, True),
    ]
    hook.after_train(runner)


def test_only_the_main_process_has_bars(bars, runner, monkeypatch):
    monkeypatch.setattr(progress, 'is_main_process', lambda: False)
    hook = ProgressBarHook()
    hook.before_train(runner)
    hook.after_train_iter(runner, 0, outputs={'loss': torch.tensor(1.0)})
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0)
    hook.after_val_epoch(runner)
    hook.after_train(runner)
    assert bars == []


@pytest.mark.parametrize('terminal', [False, True])
def test_log_files_have_no_codes_that_move_the_cursor(runner, monkeypatch, terminal):
    file = io.StringIO()
    file.isatty = lambda: terminal
    monkeypatch.setattr(sys, 'stderr', file)
    hook = ProgressBarHook()
    hook.before_train(runner)
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0)
    hook.after_val_epoch(runner)
    hook.after_train(runner)
    assert 'val:' in file.getvalue()
    assert ('\x1b[A' in file.getvalue()) == terminal
