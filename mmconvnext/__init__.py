"""ConvNeXt V1 and V2 for MMDetection and MMSegmentation.

Importing the package registers what it offers with MMEngine, and lets mmcv run without its compiled operators.
"""

# ruff: noqa: E402  the stand-in for mmcv's operators must be in place before anything imports mmcv.ops
from mmconvnext import compat

compat.install()

from mmconvnext import hub
from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import ConvNeXtPretrained
from mmconvnext.optim import LayerDecayOptimWrapperConstructor
from mmconvnext.version import __version__

hub.register()

__all__ = ['ConvNeXt', 'ConvNeXtPretrained', 'LayerDecayOptimWrapperConstructor', '__version__']
