"""Trains or tests a prepared run, and prints where its results are."""

from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import OPTIMIZERS
from mmengine.runner import EpochBasedTrainLoop

from mmconvnext.config import processes
from mmconvnext.config.keywords import name_unknown_keywords
from mmconvnext.config.prepare import Prepared
from mmconvnext.config.resume import checkpoints_in
from mmconvnext.config_tree import look_up
from mmconvnext.errors import UserError, explain_refusals
from mmconvnext.runner import curves
from mmconvnext.runner.console import DETAILS, only_to_file
from mmconvnext.runner.metrics_table import metrics_table
from mmconvnext.runner.pictures import draw_results
from mmconvnext.runner.quiet_runner import QuietRunner
from mmconvnext.runner.warmup import unfinished_warmups

PICTURES = 6  # drawn after a training


def build_runner(run: Prepared) -> QuietRunner:
    """Builds the runner of a prepared training or test.

    Raises:
        UserError: If a part of the config is wrong or contradicts another, or the launcher's environment is missing.
    """
    _check_seed(run.cfg)
    processes.join(run.cfg)
    with (
        name_unknown_keywords(run.cfg),
        explain_refusals('the config cannot be built: the model, or the hooks and log around it'),
    ):
        runner = QuietRunner.from_cfg(run.cfg)
        for hook in run.hooks:
            runner.register_hook(hook)
    for note in run.notes:
        runner.logger.info(note)
    return runner


def build_trainer(run: Prepared) -> QuietRunner:
    """Builds the runner of a training with its optimizer and data, so that their errors come before the training.

    Raises:
        UserError: As :func:`build_runner`, if the optimizer's settings do not fit the model, or if the data or the
            evaluator refuse a sample.
    """
    runner = build_runner(run)
    only_to_file(runner.logger, DETAILS)
    runner.strict = bool(run.cfg.resume)
    kind = look_up(run.cfg, ('optim_wrapper', 'optimizer', 'type'))
    if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
        raise UserError(f'optim_wrapper.optimizer.type is {kind!r}, and no optimizer of that name is known.')
    with name_unknown_keywords(run.cfg):
        with explain_refusals('the config cannot be built: the optimizer'):
            runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        runner.prepare_loops('train', 'val')
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    epochs = runner.max_epochs if by_epoch else None
    for sentence in unfinished_warmups(run.cfg.get('param_scheduler'), steps=runner.max_iters, epochs=epochs):
        runner.logger.warning(sentence)
    return runner


def build_tester(run: Prepared) -> QuietRunner:
    """Builds the runner of a test with its data, so that their errors come before the test.

    Raises:
        UserError: As :func:`build_runner`, or if the data or the evaluator refuse a sample.
    """
    runner = build_runner(run)
    with name_unknown_keywords(run.cfg):
        runner.prepare_loops('test')
    return runner


def train(runner: QuietRunner) -> dict[str, float]:
    """Trains, evaluates on the way as the config says, and leaves curves and pictures in the work directory.

    The process group is destroyed at the end.

    Args:
        runner: From :func:`build_trainer`.

    Returns:
        The metrics of the last evaluation; empty if the config has none.

    Raises:
        CheckpointError: If the weights to start from cannot be found, downloaded or read, or do not fit.
    """
    runner.train()
    train_records, val_records = curves.read_scalars(runner)
    metrics = val_records[-1] if val_records else {}
    if is_main_process():
        folder = Path(runner.work_dir)
        pictures = draw_results(runner, folder / 'pictures', PICTURES)
        curves.draw_curves(train_records, val_records, folder / 'curves.png')
        legend = getattr(runner.visualizer, 'legend', 'ground truth left, result right')
        _print_results(
            metrics,
            curves=folder / 'curves.png',
            pictures=f'{folder / "pictures"}/ ({len(pictures)}: {legend})' if pictures else None,
            weights=next(iter(checkpoints_in(folder)), None),
        )
    processes.leave(runner)
    return metrics


def evaluate(runner: QuietRunner, *, results: str | None = None, pictures: str | None = None) -> dict[str, float]:
    """Evaluates a checkpoint. The process group is destroyed at the end.

    Args:
        runner: From :func:`build_tester`.
        results: Where the results are written; printed at the end.
        pictures: Where the pictures are; printed at the end.

    Returns:
        The metrics.

    Raises:
        CheckpointError: If the checkpoint does not fit.
    """
    metrics = runner.test()
    if is_main_process():
        _print_results(metrics, results=results, pictures=pictures, log=runner.log_dir)
    processes.leave(runner)
    return metrics


def _check_seed(cfg: Config) -> None:
    seed = (cfg.get('randomness') or {}).get('seed')
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**32):
        raise UserError(f'the seed is {seed!r}; it must be a whole number from 0 to 2**32 - 1.', seed=seed)


def _print_results(metrics: dict[str, float], **places: str | Path | None) -> None:
    if metrics:
        print(f'\n{metrics_table(metrics)}\n')
    for name, place in places.items():
        if place:
            print(f'{name:<9} {place}')
