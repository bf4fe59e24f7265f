"""Writes files completely or not at all, even when the disk is full."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmconvnext.errors import UserError

REMEDIES = {
    errno.ENOSPC: 'Make room on its disk.',
    errno.EDQUOT: 'Make room in your quota of its disk.',
    errno.EFBIG: 'It is larger than the limit on the size of files; "ulimit -f unlimited" lifts the limit.',
}


@contextmanager
def written_whole(path: Path, then: str = '') -> Iterator[Path]:
    """Gives a file its name only when it is complete, so that an earlier file is never half-overwritten.

    Args:
        path: The final name of the file.
        then: A sentence that ends the message of an error.

    Yields:
        A temporary name in the same folder, to which the caller writes the file.

    Raises:
        UserError: If the operating system refuses to write the file. ``facts['path']`` is its final name. The
            temporary file is removed.
    """
    part = path.with_name(f'.{path.stem}.{os.getpid()}{path.suffix}')
    try:
        yield part
        part.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        message = ' '.join(filter(None, [f'{path} cannot be written: {reason}.', REMEDIES.get(error.errno or 0), then]))
        raise UserError(message, path=path, reason=reason) from error
    finally:
        part.unlink(missing_ok=True)
