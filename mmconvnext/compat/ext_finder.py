"""Answer ``import mmcv._ext`` where mmcv was installed without its compiled operators."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

_STAND_IN = Path(__file__).with_name('mmcv_ext.py')


class MmcvExtFinder:
    """Import finder that maps ``mmcv._ext``, and nothing else, to ``mmcv_ext.py`` beside this file.

    The answer is the ordinary spec of a source file: mmengine and mmcv not only import the module, they ask
    ``importlib.util.find_spec`` and ``pkgutil.find_loader`` whether it exists.
    """

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of the stand-in for ``mmcv._ext``, None for every other module."""
        if fullname != 'mmcv._ext':
            return None
        return spec_from_file_location(fullname, _STAND_IN)


def install_ext_finder() -> None:
    """Append the finder, once.

    Python asks the last finder only where all others found nothing, so a compiled ``mmcv._ext`` always wins.
    """
    if MmcvExtFinder not in sys.meta_path:
        sys.meta_path.append(MmcvExtFinder)
