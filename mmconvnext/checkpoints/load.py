"""Fills a backbone, or a whole detector or segmentor, from a checkpoint: completely or not at all."""

from pathlib import Path

from mmengine.logging import MMLogger
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn

from mmconvnext.backbones.convnext import ConvNeXt
from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.checkpoints.fit import Fit, fit_backbone, fit_detector
from mmconvnext.checkpoints.locate import locate
from mmconvnext.checkpoints.read import read_file, tensors_in
from mmconvnext.checkpoints.recognise import recognise
from mmconvnext.checkpoints.stem import StemPolicy

WAYS_ON = (
    "Name a local file (tools/train.py --pretrained PATH, or checkpoint of the backbone's init_cfg), or start from "
    'random weights (--pretrained none, or init_cfg=None).'
)


def load_pretrained(
    backbone: ConvNeXt,
    checkpoint: str | Path,
    *,
    prefix: str | None = None,
    key: str | None = None,
    final_norm: bool = False,
    adapt_stem: StemPolicy = 'repeat',
    allow_pickle: bool = False,
) -> str:
    """Fills ``backbone``: all of it but the output norms, which pre-training does not have.

    Args:
        backbone: Left as it is if anything is wrong.
        checkpoint: See :func:`~mmconvnext.checkpoints.locate.locate`. It may be of any dialect, in any wrapper, and
            part of a detector.
        prefix: Which network to take from a file that holds several: what stands before its names.
        key: Which entry to take from a file that has several, such as ``model_ema``.
        final_norm: Whether the output norm of stage 3 starts from the norm before the classifier.
        adapt_stem: What becomes of the stem if the checkpoint is for images of other channels: ``repeat``, ``zero`` or
            ``refuse``; see :func:`~mmconvnext.checkpoints.stem.adapt_stem`.
        allow_pickle: Whether to read a file that can run any code as it is read.

    Returns:
        One line that says what was loaded, which is logged too.

    Raises:
        CheckpointError: If the checkpoint cannot be had, read or understood, or does not fit.
    """
    source = str(checkpoint)
    try:
        path = locate(checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f'{error} {WAYS_ON}') from error
    taken = tensors_in(read_file(path, allow_pickle), source, key)
    found = recognise(taken.tensors, source, prefix)
    fit = fit_backbone(backbone, found, source, final_norm=final_norm, stem_policy=adapt_stem)
    fit.notes += taken.notes
    fit.left_out += [*found.dropped, *found.beside]
    return _fill(backbone, fit, source)


def load_detector(model: nn.Module, checkpoint: str | Path, *, strict: bool = True, allow_pickle: bool = False) -> str:
    """Fills a whole detector or segmentor with a ConvNeXt, whatever names its backbone has in the file.

    Args:
        model: Left as it is if anything is wrong.
        checkpoint: See :func:`~mmconvnext.checkpoints.locate.locate`.
        strict: Whether all of the model must be there. Otherwise what is missing or of another shape outside the
            backbone, as the last layers are for other classes, stays as it is, and is named.
        allow_pickle: Whether to read a file that can run any code as it is read.

    Returns:
        One line that says what was loaded, which is logged too.

    Raises:
        CheckpointError: If the checkpoint cannot be had, read or understood, or does not fit.
    """
    source = str(checkpoint)
    model = unwrap(model)
    taken = tensors_in(read_file(locate(checkpoint), allow_pickle), source)
    fit = fit_detector(model, taken.tensors, source, strict=strict)
    fit.notes += taken.notes
    return _fill(model, fit, source)


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside of what distributes it, or augments at test time."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.get_submodule('module')
    return model


def _fill(model: nn.Module, fit: Fit, source: str) -> str:
    model.load_state_dict(fit.state, strict=False)  # checked above, fresh ones aside
    report = fit.report(source)
    MMLogger.get_current_instance().info(report)
    return report
