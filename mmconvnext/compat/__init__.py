"""What lets the plugin run on the mm packages as they are installed: see :func:`install`."""
from mmconvnext.compat.ext_finder import install_ext_finder

__all__ = ['install']


def install() -> None:
    """Prepare."""
    install_ext_finder()
