"""Transitional: where mmconvnext.engine still imports these from."""

from pathlib import Path

from mmconvnext.checkpoints import file_check
from mmconvnext.checkpoints.read_file import read_file
from mmconvnext.checkpoints.tensors import tensors_in

__all__ = ['check_file', 'read_file', 'tensors_in']


def check_file(path: Path, *, on_every_rank: bool = False) -> None:
    """Every rank checks since the check reads 5 GB/s; see :func:`~mmconvnext.checkpoints.file_check.check_file`."""
    file_check.check_file(path)
