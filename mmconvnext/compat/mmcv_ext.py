"""``mmcv._ext`` where mmcv has no compiled one: mmcv's Python code then runs on torchvision.

An operator is a function with the name, the arguments and the outputs that mmcv's ``ops/csrc/pytorch/pybind.cpp``
declares. To add one, write it in a file of ``mmconvnext/compat/ops`` and import it here.
"""

from collections.abc import Callable
from typing import NoReturn

import torchvision

from mmconvnext.compat.compiled_mmcv import how_to_compile
from mmconvnext.compat.ops.deform_conv import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
)
from mmconvnext.compat.ops.deform_roi_pool import deform_roi_pool_backward, deform_roi_pool_forward
from mmconvnext.compat.ops.focal_loss import sigmoid_focal_loss_backward, sigmoid_focal_loss_forward
from mmconvnext.compat.ops.modulated_deform_conv import modulated_deform_conv_backward, modulated_deform_conv_forward
from mmconvnext.compat.ops.ms_deform_attn import ms_deform_attn_backward, ms_deform_attn_forward
from mmconvnext.compat.ops.nms import nms, softnms
from mmconvnext.compat.ops.roi_align import roi_align_backward, roi_align_forward
from mmconvnext.compat.ops.roi_pool import roi_pool_backward, roi_pool_forward

__all__ = [
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'deform_conv_forward',
    'deform_roi_pool_backward',
    'deform_roi_pool_forward',
    'get_compiler_version',
    'get_compiling_cuda_version',
    'modulated_deform_conv_backward',
    'modulated_deform_conv_forward',
    'ms_deform_attn_backward',
    'ms_deform_attn_forward',
    'nms',
    'roi_align_backward',
    'roi_align_forward',
    'roi_pool_backward',
    'roi_pool_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softnms',
]


def get_compiler_version() -> str:
    """Return what logs show as the MMCV compiler."""
    return f'none, mmconvnext runs mmcv on torchvision {torchvision.__version__}'


def get_compiling_cuda_version() -> str:
    """Return what logs show as the MMCV CUDA compiler."""
    return get_compiler_version()


def __getattr__(name: str) -> Callable[..., NoReturn]:
    if name.startswith('__'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    # Importing mmcv.ops asserts that every operator exists; most models never call one of these.
    def missing_operator(*args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError(
            f"The model needs mmcv's operator {name!r}. The mmcv installed here has no compiled "
            'operators, and mmconvnext replaces only NMS, soft-NMS, RoIAlign, sigmoid focal loss and deformable '
            'attention. Choose a model that '
            f'does not need it, or an mmcv that has it. {how_to_compile()}'
        )

    return missing_operator
