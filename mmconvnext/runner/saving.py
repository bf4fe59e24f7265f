"""Keeps the last good checkpoint, even when the disk is full, and reports once that a log file cannot be written."""

import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.fileio import BaseStorageBackend, LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner


class LateRemoval(LocalBackend):
    """MMEngine's access to local files, except that files are removed later, by :meth:`remove_outdated`."""

    def __init__(self) -> None:
        self._outdated: dict[str, int] = {}

    def remove(self, filepath: str | Path) -> None:
        """Notes that a file is outdated."""
        self._outdated[str(filepath)] = os.stat(filepath).st_ino

    def remove_outdated(self) -> None:
        """Removes the outdated files, except those that have been written again since."""
        for path, inode in self._outdated.items():
            if os.path.exists(path) and os.stat(path).st_ino == inode:
                super().remove(path)
        self._outdated.clear()


class LateRemovalCheckpointHook(CheckpointHook):
    """MMEngine's hook, except that an outdated checkpoint is removed only after the new one has been written."""

    file_backend: BaseStorageBackend  # MMEngine sets it, but declares no type

    def before_train(self, runner: Runner) -> None:
        """Sets up the access to files."""
        super().before_train(runner)
        if type(self.file_backend) is LocalBackend:
            self.file_backend = LateRemoval()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        super()._save_checkpoint_with_step(runner, step, meta)
        self._remove_outdated()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        super()._save_best_checkpoint(runner, metrics)
        self._remove_outdated()

    def _remove_outdated(self) -> None:
        if isinstance(self.file_backend, LateRemoval):
            self.file_backend.remove_outdated()


def say_once_if_full(logger: logging.Logger) -> None:
    """Makes a logger say once that its log file cannot be written, in place of a traceback for each lost message.

    Args:
        logger: After a failure it logs to its other handlers only.
    """
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            # logging calls handleError for every record that is lost
            handler.handleError = partial(_stop, logger, handler)  # type: ignore[method-assign]  # its documented hook


def _stop(logger: logging.Logger, handler: logging.FileHandler, record: logging.LogRecord) -> None:
    logger.removeHandler(handler)
    reason = getattr(sys.exc_info()[1], 'strerror', None) or sys.exc_info()[1]
    print(f'the log file {handler.baseFilename} cannot be written and ends here: {reason}', file=sys.stderr)
