"""The error of the data checks."""

from mmconvnext.errors import UserError


class DataError(UserError):
    """Data that a config reads is missing or not what the config says. The message says where, and what would help."""
