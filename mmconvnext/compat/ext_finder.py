"""Answer ``import mmcv._ext`` where mmcv was installed without its compiled operators."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

_STAND_IN = Path(__file__).with_name('mmcv_ext.py')


class MmcvExtFinder:
    """Import finder that maps ``mmcv._ext``, and nothing else, to ``mmcv_ext.py`` beside this file.

    The answer is an ordinary spec of an ordinary source file, because mmengine and mmcv do not only
    import the module: they ask ``importlib.util.find_spec`` and ``pkgutil.find_loader`` for it.
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

    The last finder is asked only when all others have failed, so a compiled ``mmcv._ext`` always wins.
    """
    if MmcvExtFinder not in sys.meta_path:
        sys.meta_path.append(MmcvExtFinder)
