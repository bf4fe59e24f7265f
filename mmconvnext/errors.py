"""The one family of errors that end a command with a sentence, and functions that tell them from bugs."""

import errno
import io
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

OPENMMLAB = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain')
# The system's errors for a refused write, which do not name the file
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
RANKS = ('RANK', 'SLURM_PROCID')  # environment variables of a launcher's processes


class UserError(ValueError):
    """Something the user gave cannot be used: an option, a config, data, a checkpoint, or the machine.

    The command line prints its message and exits with status 2. Every other exception is a bug and keeps its traceback.

    Args:
        message: What was wrong, where, and what would be right, in sentences.
        facts: The facts in the message, by name, for programs and tests: ``error.facts['index']``.
    """

    def __init__(self, message: str, /, **facts: Any) -> None:
        super().__init__(message)
        self.facts = facts


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Ends the program with the message of a :class:`UserError`, and exit status 2.

    If the operating system refuses to read or write a file, for instance because the disk is full, the program ends in
    the same way. Every other exception is a bug and keeps its traceback. ``MMCONVNEXT_TRACEBACK=1`` in the environment
    keeps all tracebacks. If there are several processes, only the first prints.
    """
    try:
        yield
    except UserError as error:
        _end(str(error))
    except OSError as error:
        name = error.filename
        if name is None and error.errno in NO_ROOM:
            name = _open_file(error) or 'a file cannot be written'
        if name is None or error.strerror is None:
            raise
        _end(f'{name}: {error.strerror}.')


def _open_file(error: BaseException) -> str | None:
    """Returns the name of the file that was open where an exception was raised; None if there is none."""
    for frame, _ in reversed([*traceback.walk_tb(error.__traceback__)]):
        for value in frame.f_locals.values():
            if isinstance(value, io.IOBase) and isinstance(name := getattr(value, 'name', None), str):
                return name
    return None


def _end(message: str) -> NoReturn:
    if os.environ.get('MMCONVNEXT_TRACEBACK'):
        raise
    if all(os.environ.get(name, '0') == '0' for name in RANKS):
        print(f'error: {message}', file=sys.stderr)
    sys.exit(2)


@contextmanager
def explain_refusals(what: str, *others: type[Exception]) -> Iterator[None]:
    """Turns an error by which an OpenMMLab package refuses a config or data into a :class:`UserError`.

    These packages raise many kinds of errors: a KeyError for an unknown type, an AssertionError for a wrong value. An
    error that this package's own code raised is a bug and passes unchanged: see :func:`raised_by_us`.

    Args:
        what: What could not be done. The message starts with it.
        *others: Further kinds of errors that may be raised.

    Raises:
        UserError: With the message of the error or, if that is empty, the line of code that raised it.
    """
    kinds: tuple[type[Exception], ...] = (
        *(KeyError, TypeError, AssertionError, AttributeError, ValueError, ImportError),
        *others,
    )
    try:
        yield
    except kinds as error:
        if isinstance(error, UserError) or raised_by_us(error):
            raise
        reason = error.args[0] if error.args else ''
        if not reason:
            raised = traceback.extract_tb(error.__traceback__)[-1]
            reason = f'{raised.line} in {os.path.basename(raised.filename)}'
        raise UserError(f'{what}: {type(error).__name__}: {reason} (MMCONVNEXT_TRACEBACK=1 shows where)') from error


def raised_by_us(error: BaseException) -> bool:
    """Returns whether this package's own code raised an exception, directly or by a wrong call of PyTorch or Python.

    The innermost frame that belongs to this package or to OpenMMLab's packages decides. If it is OpenMMLab's, such as a
    registry or a detector's constructor, the config asked for what failed.
    """
    packages = [
        frame.f_globals.get('__name__', '').split('.')[0] for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    known = [package for package in packages if package in ('mmconvnext', *OPENMMLAB)]
    return bool(known) and known[-1] == 'mmconvnext'
