"""The one error of this package."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be had, read or used. The message says why, and what would help."""
