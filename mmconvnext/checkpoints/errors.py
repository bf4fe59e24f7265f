"""The errors of checkpoints, which are all one to whoever catches them."""

from mmconvnext.errors import UserError


class CheckpointError(UserError):
    """A checkpoint that cannot be had, read or used. The message says why, and what would help."""


class UnsafeFileError(CheckpointError):
    """A file that holds more than tensors, so that it cannot be read safely."""
