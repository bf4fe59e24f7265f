"""Runs what :mod:`mmconvnext.config` prepared: trains, tests, and reports."""

# ruff: noqa: E402  MMEngine's hooks import OpenCV, so a broken one must be explained first
import io
import warnings
from contextlib import redirect_stdout

from mmconvnext.compat import opencv

opencv.check()
# On import these packages print that OneDL and faster_coco_eval are missing. Nothing here uses either
with redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.filterwarnings('ignore', 'faster_coco_eval is not installed')
    import mmdet.datasets
    import mmdet.evaluation  # noqa: F401  registers datasets and metrics
    import mmseg.datasets  # noqa: F401  registers datasets

from mmconvnext.runner.deploy_hook import DeployHook
from mmconvnext.runner.pictures import ResultPicturesHook
from mmconvnext.runner.progress import ProgressBarHook
from mmconvnext.runner.result_files import FinishedFileHook, LabelMapsHook
from mmconvnext.runner.skipped_images import SkippedImagesHook
from mmconvnext.runner.zero_loss import ZeroLossHook

__all__ = [
    'DeployHook',
    'FinishedFileHook',
    'LabelMapsHook',
    'ProgressBarHook',
    'ResultPicturesHook',
    'SkippedImagesHook',
    'ZeroLossHook',
]
