"""Loads checkpoints of any code base, completely or not at all.

A checkpoint passes these modules, none of which imports a later one::

    locate        a path, URL or name -> a file, by download or hub; manifest has the published names
    read_file     a file -> its content, after check_file; shards puts several files together
    find_tensors  the content -> tensors by name
    recognise     tensors -> a ConvNeXt under this package's names, by dialects (written with naming) and network
    fit_backbone  a ConvNeXt -> what to load (load_plan), by check_tensors and adapt_stem
    fit_by_name   the same for another backbone, whose tensors have its own names
    fit_timm      the same for a network of timm, whose names may be others that timm reads
    fit_classifier  the same for a ConvNeXt with its head
    fit_detector  the same for a whole detector, segmentor or classifier
    load          changes the model

convert writes a recognised ConvNeXt in another dialect.
"""

from mmconvnext.checkpoints.convert import convert, convert_file
from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.checkpoints.load import ConvNeXtPretrained, load_detector, load_pretrained
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
