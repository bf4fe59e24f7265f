"""``mmcv._ext`` where mmcv has no compiled one: mmcv's own Python code then runs on torchvision's operators.

An operator here is a function with the name, the arguments and the outputs of the C++ function in mmcv's
``ops/csrc/pytorch/pybind.cpp``. To add one, write it in ``mmconvnext/compat/ops`` and import it below.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import torchvision

from mmconvnext.compat.compiled_mmcv import how_to_compile
from mmconvnext.compat.ops.nms import nms, softnms
from mmconvnext.compat.ops.roi_align import roi_align_backward, roi_align_forward

__all__ = [
    'get_compiler_version',
    'get_compiling_cuda_version',
    'nms',
    'roi_align_backward',
    'roi_align_forward',
    'softnms',
]


def get_compiler_version() -> str:
    """Return what a log shows as MMCV Compiler."""
    return f'none (mmconvnext stands in with torchvision {torchvision.__version__})'


def get_compiling_cuda_version() -> str:
    """Return what a log shows as MMCV CUDA Compiler."""
    return get_compiler_version()


def __getattr__(name: str) -> Callable[..., NoReturn]:
    # mmcv asserts at import that each operator exists, long before it calls one, if it ever does.
    if name.startswith('__'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    def missing_operator(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"The model needs mmcv's operator {name!r}, but the mmcv installed here has no compiled operators, and "
            'mmconvnext offers only NMS and RoIAlign in their place. Choose a model that does without it, or install '
            f'an mmcv that has it. {how_to_compile()}'
        )

    return missing_operator
