"""How a ConvNeXt block is computed: faster than layer by layer, with the same numbers.

The reference is the block's own ``forward`` in :mod:`mmconvnext.backbones.convnext`. Every path here is tested against
it, and :mod:`mmconvnext.kernels.choice` decides where a path takes its place.
"""

from mmconvnext.kernels.choice import use, why_not_triton

__all__ = ['use', 'why_not_triton']
