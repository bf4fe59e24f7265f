"""Runs a prepared config, and says where to find what it leaves."""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.runner import Runner, find_latest_checkpoint

from mmconvnext.engine import console, machine, report

PICTURES = 6  # drawn after a training


class QuietRunner(Runner):
    """MMEngine's runner, whose long listings go to the log file only."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Builds the logger and filters what it prints."""
        logger = super().build_logger(*args, **kwargs)
        console.leave_listings_to_the_file(logger)
        return logger


def train(cfg: Config) -> dict[str, float]:
    """Trains, evaluates on the way as the config says, and leaves curves and pictures in the work directory.

    Args:
        cfg: From :func:`mmconvnext.engine.prepare.prepare`.

    Returns:
        The metrics of the last evaluation.

    Raises:
        CheckpointError: If the backbone's pre-trained weights cannot be had or do not fit.
    """
    runner = _build_runner(cfg)
    runner.train()
    train_records, val_records = report.read_scalars(runner)
    metrics = val_records[-1] if val_records else {}
    if is_main_process():
        folder = Path(cfg.work_dir)
        pictures = report.draw_results(runner, folder / 'pictures', PICTURES)
        report.draw_curves(train_records, val_records, folder / 'curves.png')
        _say(
            metrics,
            curves=folder / 'curves.png',
            pictures=f'{pictures[0].parent}/ ({len(pictures)}: ground truth left, result right)',
            weights=find_latest_checkpoint(cfg.work_dir),
        )
    return metrics


def evaluate(cfg: Config, *, results: str | None = None, pictures: str | None = None) -> dict[str, float]:
    """Evaluates a checkpoint.

    Args:
        cfg: From :func:`mmconvnext.engine.prepare.prepare` and ``configure_test``.
        results: Where ``configure_test`` was told to write results, to be said at the end.
        pictures: Where it was told to draw pictures.

    Returns:
        The metrics.
    """
    runner = _build_runner(cfg)
    metrics = runner.test()
    if is_main_process():
        _say(metrics, results=results, pictures=pictures, log=runner.log_dir)
    return metrics


def _build_runner(cfg: Config) -> QuietRunner:
    machine.join_processes(cfg)
    runner = QuietRunner.from_cfg(cfg)
    for note in cfg.adapted:
        runner.logger.info(note)
    return runner


def _say(metrics: dict[str, float], **places: str | Path | None) -> None:
    if metrics:
        print(f'\n{report.metrics_table(metrics)}\n')
    for name, place in places.items():
        if place:
            print(f'{name:<9} {place}')
