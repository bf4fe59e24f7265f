"""The errors of this package, which are all one to whoever catches them."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be had, read or used. The message says why, and what would help."""


class UnsafeFileError(CheckpointError):
    """A file that holds more than tensors, so that it cannot be read safely."""
