"""The errors of checkpoints, and how their messages list tensors."""

from collections.abc import Iterable

from mmconvnext.errors import UserError


class CheckpointError(UserError):
    """A checkpoint cannot be found, read or used. The message says why, and what would be right."""


class UnsafeFileError(CheckpointError):
    """A file holds Python objects other than tensors and plain values, so reading it could run code."""


def count_and_list(names: Iterable[str], limit: int = 3) -> str:
    """Counts tensors and names the first few: ``4 tensors (norm0.bias, norm0.weight, norm1.bias, ...)``."""
    names = sorted(names)
    listed = ', '.join(names[:limit])
    return f'{len(names)} tensor{"s" if len(names) > 1 else ""} ({listed}{", ..." if len(names) > limit else ""})'
