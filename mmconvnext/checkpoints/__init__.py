"""Loading weights, completely or not at all, from whatever names and layout they come in."""

from mmconvnext.checkpoints.convert import convert, convert_file
from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.checkpoints.initializer import ConvNeXtPretrained
from mmconvnext.checkpoints.load import load_detector, load_pretrained
from mmconvnext.checkpoints.locate import locate
from mmconvnext.checkpoints.manifest import MANIFEST, Weights

__all__ = [
    'MANIFEST',
    'CheckpointError',
    'ConvNeXtPretrained',
    'Weights',
    'convert',
    'convert_file',
    'load_detector',
    'load_pretrained',
    'locate',
]
