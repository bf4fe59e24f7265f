"""What a person reads in the terminal: errors as sentences, and a log without MMEngine's long listings."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from mmconvnext.errors import UserError

OPENMMLAB = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain')
RANKS = ('RANK', 'SLURM_PROCID')  # environment variables of a launcher's processes

# Openings of log messages of a hundred lines and more. They stay in the log file
LISTINGS = ('\n----', 'Config:\n', 'Hooks will be executed', 'Name of parameter')


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Ends the program with the message of a :class:`~mmconvnext.errors.UserError`, and exit status 2.

    So does a file that the system refuses by name, as where the disk is full. Every other exception is a bug of ours,
    and keeps its traceback. With the environment variable ``MMCONVNEXT_TRACEBACK`` set, all of them do. Of several
    processes the first one speaks.
    """
    try:
        yield
    except UserError as error:
        _end(str(error))
    except OSError as error:
        if error.filename is None or error.strerror is None:
            raise
        _end(f'{error.filename}: {error.strerror}.')


def _end(message: str) -> NoReturn:
    if os.environ.get('MMCONVNEXT_TRACEBACK'):
        raise
    if all(os.environ.get(name, '0') == '0' for name in RANKS):
        print(f'error: {message}', file=sys.stderr)
    sys.exit(2)


@contextmanager
def building(what: str) -> Iterator[None]:
    """Turns errors by which OpenMMLab's packages refuse a part of the config into one that is a sentence.

    They raise whatever comes, a KeyError for an unknown type as well as an AssertionError for a wrong value. What this
    package's own code raises is a bug, and passes: see :func:`is_ours`.

    Args:
        what: What is built.

    Raises:
        UserError: With the message of the error or, where it has none, the line that raised it.
    """
    try:
        yield
    except (KeyError, TypeError, AssertionError, AttributeError, ValueError, ImportError) as error:
        if isinstance(error, UserError) or is_ours(error):
            raise
        said = error.args[0] if error.args else ''
        if not said:
            raised = traceback.extract_tb(error.__traceback__)[-1]
            said = f'{raised.line} in {os.path.basename(raised.filename)}'
        raise UserError(
            f'the config cannot be built: {what}: {type(error).__name__}: {said} (MMCONVNEXT_TRACEBACK=1 shows where)'
        ) from error


def is_ours(error: BaseException) -> bool:
    """Whether this package's own code raised an exception, itself or by a wrong call of PyTorch or Python.

    Of the functions that the exception came through, the innermost counts that is this package's or one of OpenMMLab's
    packages'. If it is OpenMMLab's, as that of a registry or of a detector's constructor, a config asked for it.
    """
    packages = [
        frame.f_globals.get('__name__', '').split('.')[0] for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    known = [package for package in packages if package in ('mmconvnext', *OPENMMLAB)]
    return bool(known) and known[-1] == 'mmconvnext'


def leave_listings_to_the_file(logger: logging.Logger) -> None:
    """Keeps the dumps of the environment, config and hooks out of the terminal; the log file has them all."""
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(lambda record: not record.getMessage().startswith(LISTINGS))
