"""Answers ``import mmcv._ext`` where mmcv was installed without its compiled operators.

Python may run this file by itself, as every process of an environment starts: see :mod:`mmconvnext.compat.startup`. So
it imports nothing that is not there by then, and nothing of this package.
"""

import os
import sys

STAND_IN = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'mmcv_ext.py')


class MmcvExtFinder:
    """Import finder that maps ``mmcv._ext``, and nothing else, to ``mmcv_ext.py`` beside this file.

    The answer is the ordinary spec of a source file: mmengine and mmcv not only import the module, they ask
    ``importlib.util.find_spec`` and ``pkgutil.find_loader`` whether it exists.
    """

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):  # without types, which would have to be imported
        """Returns the spec of the stand-in for ``mmcv._ext``, None for every other module."""
        if fullname != 'mmcv._ext':
            return None
        from importlib.util import spec_from_file_location

        return spec_from_file_location(fullname, STAND_IN)


def install_ext_finder() -> None:
    """Appends the finder, once.

    Python asks the last finder only where all others found nothing, so a compiled ``mmcv._ext`` always wins.
    """
    # By name: the class may have come into this process by way of startup.py too
    if all(getattr(finder, '__name__', None) != MmcvExtFinder.__name__ for finder in sys.meta_path):
        sys.meta_path.append(MmcvExtFinder)
