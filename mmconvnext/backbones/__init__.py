"""ConvNeXt, its classifier, and the table of its sizes; the road from ResNet to it, and its rivals from timm."""

from mmconvnext.backbones.classifier import ConvNeXtClassifier
from mmconvnext.backbones.contract import DenseBackbone
from mmconvnext.backbones.convnext import ConvNeXt
from mmconvnext.backbones.road import ConvNeXtRoad
from mmconvnext.backbones.sizes import ARCHS, Arch, resolve_arch
from mmconvnext.backbones.timm_features import TimmFeatures

__all__ = [
    'ARCHS',
    'Arch',
    'ConvNeXt',
    'ConvNeXtClassifier',
    'ConvNeXtRoad',
    'DenseBackbone',
    'TimmFeatures',
    'resolve_arch',
]
