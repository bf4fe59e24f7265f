"""Loads checkpoints of any code base, completely or not at all.

A checkpoint passes these modules, none of which imports a later one::

    locate        a path, URL or name -> a file, by download or hub; manifest has the published names
    read_file     a file -> its content, after file_check; shards puts several files together
    tensors       the content -> tensors by name
    recognise     tensors -> a ConvNeXt under this package's names, by dialects (written with naming) and network
    fit_backbone  a ConvNeXt -> what to load (load_plan), by tensor_check and stem; fit_detector for whole models
    load          changes the model; initializer is MMEngine's entry to it

convert writes a recognised ConvNeXt in another dialect.
"""

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
