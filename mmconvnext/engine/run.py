"""Runs a prepared config, and says where to find what it leaves."""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.runner import Runner, find_latest_checkpoint

from mmconvnext.checkpoints.fit import fit_detector
from mmconvnext.checkpoints.load import unwrap
from mmconvnext.checkpoints.locate import locate
from mmconvnext.checkpoints.read import read_file, tensors_in
from mmconvnext.engine import console, machine, report

PICTURES = 6  # drawn after a training


class QuietRunner(Runner):
    """MMEngine's runner, whose long listings go to the log file only, and which loads a checkpoint whole or not at all.

    Attributes:
        strict (bool): Whether a checkpoint must fill the heads too. A training that starts from another one has heads
            of its own.
    """

    strict = True

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Builds the logger and filters what it prints."""
        logger = super().build_logger(*args, **kwargs)
        console.leave_listings_to_the_file(logger)
        return logger

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Loads a detector or segmentor whose backbone may have the names of any dialect.

        MMEngine's own options are without effect: files are read on the CPU, and only safely.

        Raises:
            CheckpointError: If it cannot be read or does not fit; the model is as it was then.
        """
        content = read_file(locate(filename))
        model = unwrap(self.model)
        fit = fit_detector(model, tensors_in(content, filename), filename, strict=self.strict)
        content = {**content, 'state_dict': fit.state}
        self.call_hook('after_load_checkpoint', checkpoint=content)  # averaged weights may take the place of these
        model.load_state_dict(content['state_dict'], strict=False)
        self._has_loaded = True
        self.logger.info(fit.report(filename))
        return content


def train(cfg: Config) -> dict[str, float]:
    """Trains, evaluates on the way as the config says, and leaves curves and pictures in the work directory.

    Args:
        cfg: From :func:`mmconvnext.engine.prepare.prepare`.

    Returns:
        The metrics of the last evaluation.

    Raises:
        CheckpointError: If the weights to start from cannot be had or do not fit.
    """
    runner = _build_runner(cfg)
    runner.strict = bool(cfg.resume)
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

    Raises:
        CheckpointError: If the checkpoint does not fit.
    """
    runner = _build_runner(cfg)
    metrics = runner.test()
    if is_main_process():
        _say(metrics, results=results, pictures=pictures, log=runner.log_dir)
    return metrics


def _build_runner(cfg: Config) -> QuietRunner:
    machine.join_processes(cfg)
    runner = QuietRunner.from_cfg(cfg)
    for hook in cfg.run_hooks:
        runner.register_hook(hook)
    for note in cfg.adapted:
        runner.logger.info(note)
    return runner


def _say(metrics: dict[str, float], **places: str | Path | None) -> None:
    if metrics:
        print(f'\n{report.metrics_table(metrics)}\n')
    for name, place in places.items():
        if place:
            print(f'{name:<9} {place}')
