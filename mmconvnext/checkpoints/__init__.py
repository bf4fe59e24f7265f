"""Loading pre-trained weights, completely or not at all."""

from mmconvnext.checkpoints.initializer import ConvNeXtPretrained
from mmconvnext.checkpoints.load import CheckpointError, load_pretrained

__all__ = ['CheckpointError', 'ConvNeXtPretrained', 'load_pretrained']
