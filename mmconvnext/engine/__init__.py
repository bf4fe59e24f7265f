"""What the command lines share: a config made ready for this machine and this data, run, and reported."""

# ruff: noqa: E402  MMEngine's hooks import OpenCV, so a broken one must be explained first
import io
import warnings
from contextlib import redirect_stdout

from mmconvnext.compat import opencv

opencv.check()
# As they are imported these say that they lack OneDL and faster_coco_eval, which nothing here uses
with redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.filterwarnings('ignore', 'faster_coco_eval is not installed')
    import mmdet.datasets
    import mmdet.evaluation  # noqa: F401  that they are imported here is all
    import mmseg.datasets  # noqa: F401  likewise

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
