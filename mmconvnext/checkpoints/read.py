"""Transitional: where mmconvnext.engine still imports these from."""

from pathlib import Path

from mmconvnext.checkpoints import check_file as checks
from mmconvnext.checkpoints.find_tensors import tensors_in
from mmconvnext.checkpoints.read_file import read_file

__all__ = ['check_file', 'read_file', 'tensors_in']


def check_file(path: Path, *, on_every_rank: bool = False) -> None:
    """Every rank checks, since the check reads more than 2 GB/s."""
    checks.check_file(path)
