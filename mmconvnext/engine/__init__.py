"""What the command lines share: a config made ready for this machine and this data, run, and reported."""

from mmconvnext.engine.progress import ProgressBarHook
from mmconvnext.engine.report import ResultPicturesHook

__all__ = ['ProgressBarHook', 'ResultPicturesHook']
