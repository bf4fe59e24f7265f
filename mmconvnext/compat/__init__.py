"""What lets the plugin run on the mm packages as they are installed, compiled operators or not."""

from mmconvnext.compat.checkpoint_globals import install_checkpoint_globals
from mmconvnext.compat.ext_finder import install_ext_finder
from mmconvnext.compat.placeholders import mend_placeholders

__all__ = ['install']


def install() -> None:
    """Lets mmcv run without compiled operators, and PyTorch load a Runner's checkpoints with ``weights_only=True``.

    ``import mmconvnext`` calls it. It is cheap, may be called again, and leaves an mmcv that has its compiled operators
    as it is. What was imported before, and made do without the operators, gets them.
    """
    install_ext_finder()
    install_checkpoint_globals()
    mend_placeholders()
