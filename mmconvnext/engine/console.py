"""What a person reads in the terminal: errors as sentences, and a log without MMEngine's long listings."""

import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from typing import NoReturn

from mmconvnext.errors import UserError

OPENMMLAB = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain')
RANKS = ('RANK', 'SLURM_PROCID')  # environment variables of a launcher's processes

# Openings of log messages of a hundred lines and more, and of what OpenMMLab's packages tell their own developers. They
# stay in the log file
LISTINGS = (
    *('\n----', 'Config:\n', 'Hooks will be executed', 'Name of parameter'),
    *('"FileClient" will be deprecated', '"HardDiskBackend" is the alias', 'Distributed training is not used'),
    'The prefix is not set in metric class',
)
# Of those that show how an evaluation came to the metrics which the table at the end has, and of the learning rate of
# each layer. They stay in the log file of a training
DETAILS = (
    *('Evaluating ', 'bbox_mAP_copypaste', 'segm_mAP_copypaste', 'figures of pycocotools'),
    *('layer_wise learning-rate decay', 'stage_wise learning-rate decay'),
)
# Lines with which pycocotools reports an evaluation, and by which it says what it is doing
FIGURES = ('Evaluate annotation type', ' Average Precision', ' Average Recall')
PROGRESS = (
    *('loading annotations', 'Done (t=', 'Loading and preparing', 'DONE (t=', 'creating index', 'index created'),
    *('Running per image', 'Accumulating'),
)

# Warnings that are about the code of the packages around this one: the message and the module
FOREIGN_WARNINGS = (
    ('To copy construct from a tensor', r'mmdet\.'),
    (r'Warning: The (bbox|polygon) is out of bounds', r'mmengine\.visualization'),
    ('Default ``avg_non_ignore`` is False', r'mmseg\.'),
    (r'.* instance named of .* has been created, the method `get_instance`', r'mmengine\.'),
    ('The draw is False', r'mmseg\.'),
    (r'``build_\w+`` would be deprecated soon', r'mmseg\.'),
    ('`reduce_zero_label` will be deprecated', r'mmseg\.'),
    ('The shape of value will convert', r'mmengine\.structures'),
    ('torch.meshgrid: in an upcoming release', r'torch\.functional'),
)


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


def building(what: str) -> AbstractContextManager[None]:
    """Turns errors by which OpenMMLab's packages refuse a part of the config into one that is a sentence.

    Args:
        what: What is built.

    Raises:
        UserError: As :func:`refused_by_a_package`.
    """
    return refused_by_a_package(f'the config cannot be built: {what}')


@contextmanager
def refused_by_a_package(what: str, *others: type[Exception]) -> Iterator[None]:
    """Turns errors by which OpenMMLab's packages refuse a config or data into one that is a sentence.

    They raise whatever comes, a KeyError for an unknown type as well as an AssertionError for a wrong value. What this
    package's own code raises is a bug, and passes: see :func:`is_ours`.

    Args:
        what: What cannot be done.
        *others: Further kinds of errors that they raise.

    Raises:
        UserError: With the message of the error or, where it has none, the line that raised it.
    """
    kinds: tuple[type[Exception], ...] = (
        *(KeyError, TypeError, AssertionError, AttributeError, ValueError, ImportError),
        *others,
    )
    try:
        yield
    except kinds as error:
        if isinstance(error, UserError) or is_ours(error):
            raise
        said = error.args[0] if error.args else ''
        if not said:
            raised = traceback.extract_tb(error.__traceback__)[-1]
            said = f'{raised.line} in {os.path.basename(raised.filename)}'
        raise UserError(f'{what}: {type(error).__name__}: {said} (MMCONVNEXT_TRACEBACK=1 shows where)') from error


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


def leave_to_the_file(logger: logging.Logger, openings: tuple[str, ...]) -> None:
    """Keeps log messages with these openings out of the terminal; the log file has them all."""
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(lambda record: not record.getMessage().startswith(openings))


def leave_out_foreign_warnings() -> None:
    """Hides warnings that no user of this package can do anything about, in this process and its data workers.

    For the tools alone: importing the package changes nothing for a user's own program.
    """
    for message, module in FOREIGN_WARNINGS:
        warnings.filterwarnings('ignore', message, module=module)


@contextmanager
def pycocotools_aside() -> Iterator[list[str]]:
    """Keeps what pycocotools prints out of the terminal; what others print, such as a dataset of a user's own, stays.

    Yields:
        Where the figures of its evaluations are once this has ended, a line each.
    """
    lines, figures = io.StringIO(), list[str]()
    try:
        with redirect_stdout(lines):
            yield figures
    finally:
        for line in lines.getvalue().splitlines():
            if line.startswith(FIGURES):
                figures.append(line)
            elif line and not line.startswith(PROGRESS):
                print(line, flush=True)
