"""Layer-wise learning-rate decay."""

from mmconvnext.optim.layer_decay import LayerDecayOptimWrapperConstructor

__all__ = ['LayerDecayOptimWrapperConstructor']
