"""ConvNeXt V1 and V2 for MMDetection and MMSegmentation.

Importing the package registers what it offers with MMEngine, and lets mmcv run without its compiled operators.
"""

# ruff: noqa: E402  the stand-in for mmcv's operators must be in place before anything imports mmcv.ops
try:
    import mmengine  # noqa: F401  only whether it is there matters
except ModuleNotFoundError as error:
    if error.name != 'mmengine':
        raise
    raise ImportError(
        "mmconvnext needs MMEngine, which is not installed. `pip install 'mmconvnext[onedl]'` brings it with the "
        "maintained OpenMMLab packages, `pip install 'mmconvnext[openmmlab]'` with the original ones: take one of the "
        'two, never both.'
    ) from None

from mmconvnext import compat

compat.install()

from mmconvnext import named_configs
from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import ConvNeXtPretrained
from mmconvnext.optim import LayerDecayOptimWrapperConstructor
from mmconvnext.version import __version__

named_configs.register()

__all__ = ['ConvNeXt', 'ConvNeXtPretrained', 'LayerDecayOptimWrapperConstructor', '__version__']
