"""Mends modules that were imported while ``mmcv.ops`` could not be.

onedl-mmdetection 3.5 puts functions and classes that raise in the place of operators which it cannot import, and a
module keeps them for the life of the process, even if the operators can be imported later.
"""

import importlib
import sys
from collections.abc import Iterator
from types import CodeType, ModuleType
from typing import Any

PACKAGES = ('mmdet', 'mmseg', 'mmrotate', 'mmpose', 'mmpretrain')
SENTENCE = 'requires mmcv to be compiled with'


def mend_placeholders() -> list[str]:
    """Puts the operators in the place of the placeholders.

    Returns:
        The dotted names of those that were replaced.
    """
    found = [
        (module, name)
        for key, module in list(sys.modules.items())
        if key.split('.')[0] in PACKAGES and module is not None
        for name in _placeholders(module)
    ]
    if not found:
        return []
    operators = importlib.import_module('mmcv.ops')
    found = [(module, name) for module, name in found if hasattr(operators, name)]
    for module, name in found:
        setattr(module, name, getattr(operators, name))
    return [f'{module.__name__}.{name}' for module, name in found]


def _placeholders(module: ModuleType) -> Iterator[str]:
    """Names of the placeholders that a module defined, found by the sentence that they raise."""
    for name, value in vars(module).items():
        if getattr(value, '__module__', None) == module.__name__:
            function = vars(value).get('__init__') if isinstance(value, type) else value
            code = getattr(function, '__code__', None)
            if isinstance(code, CodeType) and any(_says(constant) for constant in code.co_consts):
                yield name


def _says(constant: Any) -> bool:
    return isinstance(constant, str) and SENTENCE in constant
