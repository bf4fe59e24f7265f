"""ConvNeXt, its layers, and the table of its sizes."""

from mmconvnext.backbones.contract import DenseBackbone
from mmconvnext.backbones.convnext import ConvNeXt
from mmconvnext.backbones.sizes import ARCHS, Arch, resolve_arch

__all__ = ['ARCHS', 'Arch', 'ConvNeXt', 'DenseBackbone', 'resolve_arch']
