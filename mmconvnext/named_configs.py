"""Makes this package's configs known to MMEngine: ``get_config('mmconvnext::detection/cascade_convnext_t_3x.py')``."""

from mmengine.config import utils


def register() -> None:
    """Adds the package to those whose configs MMEngine looks up by name; its own list is closed."""
    utils.MODULE2PACKAGE.setdefault('mmconvnext', 'mmconvnext')
