"""Runs a stage of several in a process of its own, once: a stage that is finished is not run again.

Each stage is a command that a user could start alone, on a config beside the stage's folder. A process of its own
leaves no memory behind, nor a registry, a logger or a process group, which one process has once.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from mmengine.config import Config

from mmconvnext.config.resume import checkpoints_in
from mmconvnext.errors import UserError
from mmconvnext.runner.metrics_table import NO_METRICS
from mmconvnext.whole_files import written_whole

FINISHED = 'finished.json'
RESULTS = ('segm', 'bbox')  # of CocoMetric; boxes are in both


@dataclass(frozen=True)
class Launch:
    """How stages are started.

    Args:
        gpus: Processes of a training, by torchrun where there are more than one.
        amp: As ``--amp`` of tools/train.py.
        auto_scale_lr: As that option of tools/train.py.
    """

    gpus: int = 1
    amp: str = 'auto'
    auto_scale_lr: bool = False

    def command(self, module: str, *arguments: str) -> list[str]:
        """Returns the command line that runs a module of this package."""
        if self.gpus == 1:
            return [sys.executable, '-m', module, *arguments]
        torchrun = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={self.gpus}']
        return [sys.executable, *torchrun, '-m', module, *arguments, '--launcher', 'pytorch']


@dataclass(frozen=True)
class Trained:
    """A training that has come to its end.

    Args:
        checkpoint: Its last one.
        metrics: Of its last evaluation.
    """

    checkpoint: Path
    metrics: dict[str, float]


def train(name: str, cfg: Config, folder: Path, launch: Launch, pretrained: str | None = None) -> Trained:
    """Trains, or goes on with a training that was interrupted, unless it is finished.

    Args:
        name: Of the stage, for messages.
        cfg: The whole config.
        folder: The work directory.
        launch: How to start it.
        pretrained: As that option of tools/train.py.

    Raises:
        UserError: If the training fails, or the folder has one with another config.
    """
    config = _write_config(name, cfg, folder)
    finished = folder / FINISHED
    if not finished.is_file():
        options = ['--work-dir', str(folder), '--amp', launch.amp]
        options += ['--auto-scale-lr'] if launch.auto_scale_lr else []
        started = bool(checkpoints_in(folder))
        options += ['--resume'] if started else []
        options += ['--pretrained', pretrained] if pretrained is not None and not started else []
        _run(name, launch.command('mmconvnext.cli.train', str(config), *options))
        trained = Trained(checkpoints_in(folder)[0], _last_metrics(folder))
        with written_whole(finished) as part:
            part.write_text(json.dumps(dict(checkpoint=trained.checkpoint.name, metrics=trained.metrics)))
    record = json.loads(finished.read_text())
    checkpoint = folder / record['checkpoint']
    if not checkpoint.is_file():
        raise UserError(
            f'{finished} says that {name} was trained, but its checkpoint {checkpoint} is not there. Move {folder} '
            'away to train it anew.',
            path=checkpoint,
        )
    return Trained(checkpoint, record['metrics'])


def predict(name: str, cfg: Config, checkpoint: Path, folder: Path, launch: Launch, *, tta: bool = False) -> Path:
    """Writes what a detector finds in the images of a config's test, unless it is there.

    Args:
        name: Of the stage, for messages.
        cfg: From :func:`mmconvnext.semi.stage_configs.predict_on`, with results at :func:`results_of` this folder.
        checkpoint: Of the detector.
        folder: Where to.
        launch: How to start it.
        tta: Whether to use the config's test-time augmentation.

    Returns:
        The file of results in COCO's format, with masks if the detector predicts them.

    Raises:
        UserError: If the test fails, or the folder has one with another config.
    """
    config = _write_config(name, cfg, folder)
    finished = folder / 'results.json'
    if not finished.is_file():
        options = ['--work-dir', str(folder), *(['--tta'] if tta else [])]
        _run(name, launch.command('mmconvnext.cli.test', str(config), str(checkpoint), *options))
        written = [Path(f'{results_of(folder)}.{kind}.json') for kind in RESULTS]
        next(path for path in written if path.is_file()).replace(finished)
        for path in written:
            path.unlink(missing_ok=True)
    return finished


def results_of(folder: Path) -> Path:
    """What the names of a prediction's unfinished files begin with."""
    return folder / 'unfinished'


def _write_config(name: str, cfg: Config, folder: Path) -> Path:
    """Writes the config of a stage, or compares it with the one that the stage was started with."""
    path = folder.parent / f'{folder.name}.py'  # MMEngine writes what it makes of it into the folder
    text = cfg.pretty_text
    if path.is_file() and path.read_text(encoding='utf-8') != text:
        old, new = path.read_text(encoding='utf-8').splitlines(), text.splitlines()
        changed = next((line.strip() for line in new if line not in old), '')
        raise UserError(
            f'{folder} was started with another config of {name}{f": now it has {changed}" if changed else ""}. Start '
            'with the options from before, or with another --work-dir, or move that folder and the later ones away.',
            path=path,
        )
    folder.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        with written_whole(path) as part:
            part.write_text(text, encoding='utf-8')
    return path


def _run(name: str, command: Sequence[str]) -> None:
    """Runs a command; if this process is told to end, the command and the processes that it started are too."""
    # On few cores, threads that spin while they wait take the turn of others
    environment = {'OMP_WAIT_POLICY': 'PASSIVE', **os.environ}

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, end)
    # In a session of its own: data workers outlive a training that is ended alone
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        try:
            code = process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            signal.signal(signal.SIGTERM, previous)
    if code:
        raise UserError(
            f'{name} ended with exit status {code}; what is printed above says why. The same command goes on from '
            'there.',
            stage=name,
            status=code,
        )


def _last_metrics(folder: Path) -> dict[str, float]:
    """Returns the metrics of the last evaluation in a work directory; none if it has none."""
    metrics: dict[str, float] = {}
    for path in sorted(folder.glob('*/vis_data/scalars.json')):  # by the time at which each run began
        text = path.read_text(encoding='utf-8')
        for line in text[: text.rfind('\n') + 1].splitlines():  # a run that was killed may leave part of one
            record = json.loads(line)
            if 'loss' not in record:
                metrics = {name: value for name, value in record.items() if name not in NO_METRICS}
    return metrics
