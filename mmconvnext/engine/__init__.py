"""What the command lines share: a config made ready for this machine and this data, run, and reported."""

# ruff: noqa: E402  MMEngine's hooks import OpenCV, so a broken one must be explained first
import warnings

from mmconvnext.compat import opencv

opencv.check()
# MMDetection warns so of an evaluator that no config here uses, and readers take it for theirs
warnings.filterwarnings('ignore', 'faster_coco_eval is not installed')

from mmconvnext.engine.deploy import DeployHook
from mmconvnext.engine.progress import ProgressBarHook
from mmconvnext.engine.report import ResultPicturesHook
from mmconvnext.engine.result_files import FinishedFileHook, LabelMapsHook
from mmconvnext.engine.zero_loss import ZeroLossHook

__all__ = [
    'DeployHook',
    'FinishedFileHook',
    'LabelMapsHook',
    'ProgressBarHook',
    'ResultPicturesHook',
    'ZeroLossHook',
]
