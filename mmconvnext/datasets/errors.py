"""The one error of the data checks."""


class DataError(ValueError):
    """Data that a config reads is missing or not what the config says. The message says where, and what would help."""
