"""Kernels that compute a ConvNeXt block faster than its layers do, with the same numbers.

The reference is ``Block.layer_by_layer`` in :mod:`mmconvnext.backbones.convnext`; every kernel is tested against it.
:mod:`mmconvnext.kernels.dispatch` is the only way in: it chooses the kernel. Nothing here knows modules, only tensors.
"""

from mmconvnext.kernels.dispatch import use, why_not_triton

__all__ = ['use', 'why_not_triton']
