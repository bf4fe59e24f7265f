"""What lets the plugin run on the mm packages as they are installed: see :func:`install`."""

from mmconvnext.compat.checkpoint_globals import install_checkpoint_globals
from mmconvnext.compat.ext_finder import install_ext_finder

__all__ = ['install']


def install() -> None:
    """Prepare."""
    install_ext_finder()
    install_checkpoint_globals()
