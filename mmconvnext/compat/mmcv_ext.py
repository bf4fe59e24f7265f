"""``mmcv._ext`` where mmcv has no compiled one: mmcv's Python code then runs on torchvision.

An operator is a function with the name, the arguments and the outputs that mmcv's ``ops/csrc/pytorch/pybind.cpp``
declares. To add one, write it in a file of ``mmconvnext/compat/ops`` and import it here.
"""

from collections.abc import Callable
from typing import NoReturn

import torchvision

from mmconvnext.compat.compiled_mmcv import how_to_compile
from mmconvnext.compat.ops.carafe import carafe_backward, carafe_forward, carafe_naive_backward, carafe_naive_forward
from mmconvnext.compat.ops.deform_conv import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
)
from mmconvnext.compat.ops.deform_roi_pool import deform_roi_pool_backward, deform_roi_pool_forward
from mmconvnext.compat.ops.focal_loss import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
    softmax_focal_loss_backward,
    softmax_focal_loss_forward,
)
from mmconvnext.compat.ops.masked_conv import masked_col2im_forward, masked_im2col_forward
from mmconvnext.compat.ops.modulated_deform_conv import modulated_deform_conv_backward, modulated_deform_conv_forward
from mmconvnext.compat.ops.ms_deform_attn import ms_deform_attn_backward, ms_deform_attn_forward
from mmconvnext.compat.ops.nms import nms, softnms
from mmconvnext.compat.ops.nms_match import nms_match
from mmconvnext.compat.ops.psamask import psamask_backward, psamask_forward
from mmconvnext.compat.ops.roi_align import roi_align_backward, roi_align_forward
from mmconvnext.compat.ops.roi_pool import roi_pool_backward, roi_pool_forward
from mmconvnext.compat.ops.sync_bn import (
    sync_bn_backward_data,
    sync_bn_backward_param,
    sync_bn_forward_mean,
    sync_bn_forward_output,
    sync_bn_forward_var,
)

__all__ = [
    'carafe_backward',
    'carafe_forward',
    'carafe_naive_backward',
    'carafe_naive_forward',
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'deform_conv_forward',
    'deform_roi_pool_backward',
    'deform_roi_pool_forward',
    'get_compiler_version',
    'get_compiling_cuda_version',
    'masked_col2im_forward',
    'masked_im2col_forward',
    'modulated_deform_conv_backward',
    'modulated_deform_conv_forward',
    'ms_deform_attn_backward',
    'ms_deform_attn_forward',
    'nms',
    'nms_match',
    'psamask_backward',
    'psamask_forward',
    'roi_align_backward',
    'roi_align_forward',
    'roi_pool_backward',
    'roi_pool_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softmax_focal_loss_backward',
    'softmax_focal_loss_forward',
    'softnms',
    'sync_bn_backward_data',
    'sync_bn_backward_param',
    'sync_bn_forward_mean',
    'sync_bn_forward_output',
    'sync_bn_forward_var',
]


def get_compiler_version() -> str:
    """Returns what logs show as the MMCV compiler."""
    return f'none, mmconvnext runs mmcv on torchvision {torchvision.__version__}'


def get_compiling_cuda_version() -> str:
    """Returns what logs show as the MMCV CUDA compiler."""
    return get_compiler_version()


def __getattr__(name: str) -> Callable[..., NoReturn]:
    if name.startswith('__'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    # Importing mmcv.ops asserts that every operator exists; most models never call one of these.
    def missing_operator(*args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError(
            f"The model needs mmcv's operator {name!r}. The mmcv installed here has no compiled operators, and of "
            f'those mmconvnext replaces only {", ".join(_operators())}. Choose a model that does not need it, or an '
            f'mmcv that has it. {how_to_compile()}'
        )

    return missing_operator


def _operators() -> list[str]:
    """Names of the operators that are here, without ``_forward``, ``_backward`` and what follows."""
    known = [name.partition('_forward')[0].partition('_backward')[0] for name in __all__ if not name.startswith('get_')]
    return list(dict.fromkeys(known))
