"""What a person reads in the terminal: errors as sentences, and a log without MMEngine's long listings."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

# Openings of log messages of a hundred lines and more. They stay in the log file
LISTINGS = ('\n----', 'Config:\n', 'Hooks will be executed', 'Name of parameter')


@contextmanager
def errors_as_sentences(*kinds: type[Exception]) -> Iterator[None]:
    """Ends the program with the message of an error of the given kinds, and exit status 2, in place of a traceback.

    With the environment variable ``MMCONVNEXT_TRACEBACK`` set, the traceback stays: an error may be a bug after all.
    """
    try:
        yield
    except kinds as error:
        if os.environ.get('MMCONVNEXT_TRACEBACK'):
            raise
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)


@contextmanager
def building(what: str) -> Iterator[None]:
    """Turns errors by which a library refuses a part of the config into one that is a sentence.

    Args:
        what: What is built.

    Raises:
        ValueError: With the message of the error or, where it has none, the line that raised it.
    """
    try:
        yield
    except (KeyError, TypeError, AssertionError, AttributeError) as error:
        said = error.args[0] if error.args else ''
        if not said:
            raised = traceback.extract_tb(error.__traceback__)[-1]
            said = f'{raised.line} in {os.path.basename(raised.filename)}'
        raise ValueError(
            f'the config cannot be built: {what}: {type(error).__name__}: {said} (MMCONVNEXT_TRACEBACK=1 shows where)'
        ) from error


def leave_listings_to_the_file(logger: logging.Logger) -> None:
    """Keeps the dumps of the environment, config and hooks out of the terminal; the log file has them all."""
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(lambda record: not record.getMessage().startswith(LISTINGS))
