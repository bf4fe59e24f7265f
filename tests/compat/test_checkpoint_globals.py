import io
from collections.abc import Callable, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_checkpoint
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def _only_safe_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """No load may be unrestricted, nor fall back to it."""
    load = torch.load

    def watched(*args: Any, weights_only: bool | None = None, **kwargs: Any) -> Any:
        assert weights_only is not False
        return load(*args, weights_only=weights_only, **kwargs)

    monkeypatch.setattr(torch, 'load', watched)


class Model(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, inputs: Tensor, mode: str) -> Any:
        out = self.linear(inputs)
        return {'loss': out.square().mean()} if mode == 'loss' else list(out)


class Score(BaseMetric):
    """Returns, as mmseg's metrics do, a NumPy scalar in single precision."""

    default_prefix = 'toy'

    def process(self, data_batch: Any, data_samples: Sequence[Tensor]) -> None:
        self.results.append(len(data_samples))

    def compute_metrics(self, results: list[int]) -> dict[str, np.float32]:
        return {'score': np.float32(0.1) + sum(results)}


def train(work_dir: Path, epochs: int, resume: bool) -> Runner:
    loader = dict(
        batch_size=2,
        dataset=[dict(inputs=x) for x in torch.ones(4, 2)],
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
    )
    runner = Runner(
        model=Model(),
        work_dir=str(work_dir),
        experiment_name=f'{work_dir.name}-{epochs}',
        train_dataloader=loader,
        val_dataloader=loader,
        val_evaluator=[Score()],
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_cfg=dict(),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.1)),
        param_scheduler=[dict(type='OneCycleLR', eta_max=0.1, total_steps=20, end=20, by_epoch=False)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, save_best='toy/score', rule='greater')),
        custom_hooks=[dict(type='EMAHook')],
        resume=resume,
    )
    runner.train()
    return runner


@pytest.fixture
def trained(tmp_path: Path) -> Runner:
    return train(tmp_path, epochs=1, resume=False)


def test_a_runner_s_checkpoint_loads_and_resumes(trained: Runner, tmp_path: Path) -> None:
    path = tmp_path / 'epoch_1.pth'
    for _ in range(2):  # onedl-mmengine takes its own declarations back after the first
        load_checkpoint(Model(), str(path))
        checkpoint = torch.load(path, weights_only=True)
    history = checkpoint['message_hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert history.statistics('mean') == trained.message_hub.get_scalar('train/loss').mean()
    assert checkpoint['message_hub']['runtime_info']['best_score'] == np.float32(4.1)

    resumed = train(tmp_path, epochs=2, resume=True)
    assert (resumed.epoch, resumed.iter) == (2, 4)
    assert resumed.param_schedulers[0].last_step == 4
    assert len(resumed.message_hub.get_scalar('train/loss').data[0]) == 4


def test_the_best_checkpoint_loads(trained: Runner, tmp_path: Path) -> None:
    (path,) = tmp_path.glob('best_toy_score_*.pth')
    assert torch.load(path, weights_only=True)['meta']['epoch'] == 1


@pytest.mark.parametrize('module', [b'numpy.core.multiarray', b'numpy._core.multiarray'])
def test_a_checkpoint_of_any_numpy_loads(module: bytes) -> None:
    saved = io.BytesIO()
    content = [np.float64(3), np.arange(3.0), np.int64(1), np.float32(0.5), np.bool_(True)]
    torch.save(content, saved, _use_new_zipfile_serialization=False)  # which leaves the names legible
    written = np.empty(0).__reduce__()[0].__module__.encode()
    renamed = io.BytesIO(saved.getvalue().replace(written, module))
    for loaded, original in zip(torch.load(renamed, weights_only=True), content):
        np.testing.assert_array_equal(loaded, original, strict=True)


class Malice:
    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        self.reduced = call, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.reduced


@pytest.mark.parametrize(
    'malice',
    [
        Malice(getattr, HistoryBuffer, 'register_statistics'),
        Malice(getattr, HistoryBuffer, '__init__'),
        Malice(getattr, np.ndarray, 'tofile'),
        Malice(print, 'Oh no'),
        np.array([Malice(print, 'Oh no')], dtype=object),
    ],
)
def test_nothing_else_is_let_in(malice: Any) -> None:
    saved = io.BytesIO()
    torch.save(malice, saved)
    saved.seek(0)
    with pytest.raises(UnpicklingError, match='Weights only load failed'):
        torch.load(saved, weights_only=True)
