"""The stand-in for mmcv's operators in every process of an environment, by one file that can be taken out again.

MMDetection's and MMSegmentation's own programs import ``mmcv.ops`` before a config can import this package. Python runs
the ``.pth`` files of an environment's site-packages whenever it starts (https://docs.python.org/3/library/site.html).
"""

import os
import sysconfig
from pathlib import Path

from mmconvnext.compat import ext_finder
from mmconvnext.errors import UserError

NAME = 'mmconvnext-mmcv-operators.pth'


def pth_file(site_packages: Path | None = None) -> Path:
    """Returns the path of the file, there or not; by default in the site-packages of this interpreter."""
    return (site_packages or Path(sysconfig.get_path('purelib'))) / NAME


def line() -> str:
    """Returns what the file says: run the finder, if it is still there.

    A package that was uninstalled or moved must not break, nor slow down, whatever else starts here.
    """
    path = ext_finder.__file__
    return (
        f'import os; p = {path!r}; '
        "os.path.isfile(p) and exec(compile(open(p, encoding='utf-8').read() + '\\ninstall_ext_finder()', p, 'exec'), "
        "{'__name__': 'mmconvnext_ext_finder', '__file__': p})\n"
    )


def install(site_packages: Path | None = None) -> Path:
    """Writes the file.

    Returns:
        Its path.

    Raises:
        UserError: If the environment cannot be written to.
    """
    path = pth_file(site_packages)
    unfinished = path.with_suffix(f'.{os.getpid()}.unfinished')
    try:
        unfinished.write_text(line(), encoding='utf-8')
        os.replace(unfinished, path)
    except OSError as error:
        if unfinished.exists():
            unfinished.unlink()
        raise UserError(
            f'{path} cannot be written: {error.strerror}. Take a virtual environment of your own, or ask whoever owns '
            'this one to run the command.'
        ) from error
    return path


def remove(site_packages: Path | None = None) -> bool:
    """Takes the file out again.

    Returns:
        Whether it was there.

    Raises:
        UserError: If the environment cannot be written to.
    """
    path = pth_file(site_packages)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(f'{path} cannot be removed: {error.strerror}.') from error
    return True
