"""Files that are whole or not there, also when the disk is full."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmconvnext.errors import UserError

REMEDIES = {
    errno.ENOSPC: 'Make room on its disk.',
    errno.EDQUOT: 'Make room in your quota of its disk.',
    errno.EFBIG: 'The limit on the size of a file is below its size; "ulimit -f unlimited" lifts it.',
}


@contextmanager
def written_whole(path: Path, then: str = '') -> Iterator[Path]:
    """Gives a file its name when it is whole, so that one of that name from before is never half-overwritten.

    Args:
        path: Its name.
        then: A sentence that follows the error's.

    Yields:
        Another name in the same folder, under which to write it.

    Raises:
        UserError: If the operating system refuses to write it. ``facts['path']`` is its name; nothing is left of it.
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
