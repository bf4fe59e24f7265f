"""Loads a checkpoint into a backbone, or into a whole detector or segmentor: completely or not at all."""

from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

from mmconvnext.backbones.contract import DenseBackbone
from mmconvnext.backbones.convnext import ConvNeXt
from mmconvnext.backbones.timm_features import TimmFeatures
from mmconvnext.checkpoints.adapt_stem import StemPolicy
from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.checkpoints.find_tensors import tensors_in
from mmconvnext.checkpoints.fit_backbone import fit_backbone
from mmconvnext.checkpoints.fit_by_name import fit_by_name
from mmconvnext.checkpoints.fit_detector import fit_detector
from mmconvnext.checkpoints.fit_timm import fit_timm
from mmconvnext.checkpoints.load_plan import LoadPlan
from mmconvnext.checkpoints.locate import locate
from mmconvnext.checkpoints.read_file import read_file
from mmconvnext.checkpoints.recognise import recognise

ALTERNATIVES = (
    "Name a local file (tools/train.py --pretrained PATH, or checkpoint of the backbone's init_cfg), or start from "
    'random weights (--pretrained none, or init_cfg=None).'
)


def load_pretrained(
    backbone: DenseBackbone,
    checkpoint: str | Path,
    *,
    prefix: str | None = None,
    key: str | None = None,
    final_norm: bool = False,
    adapt_stem: StemPolicy = 'repeat',
    allow_pickle: bool = False,
) -> str:
    """Loads all of ``backbone``; output norms, which pre-trained classifiers do not have, only if the file has them.

    Args:
        backbone: It keeps its values if an error is raised.
        checkpoint: See :func:`~mmconvnext.checkpoints.locate.locate`. It may have any wrapper, be a whole detector or
            segmentor, and, of a ConvNeXt, be of any dialect.
        prefix: Chooses among several networks in a file: what precedes the names of the tensors.
        key: Chooses among several entries of a file, such as ``model_ema``.
        final_norm: Load the norm before the classifier into the output norm of stage 3, in a ConvNeXt only.
        adapt_stem: How to adapt the stem of a ConvNeXt to images with other channels, ``repeat``, ``zero`` or
            ``refuse``; see :func:`~mmconvnext.checkpoints.adapt_stem.adapt_stem`.
        allow_pickle: Read files that hold Python objects. Reading them can run any code.

    Returns:
        One line that says what was loaded. It is logged, too.

    Raises:
        CheckpointError: If the checkpoint cannot be found or read, or does not fit.
    """
    source = str(checkpoint)
    try:
        path = locate(checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f'{error} {ALTERNATIVES}', **error.facts) from error
    tensors, notes = tensors_in(read_file(path, allow_pickle), source, key)
    if isinstance(backbone, ConvNeXt):
        found = recognise(tensors, source, prefix)
        plan = fit_backbone(backbone, found, final_norm=final_norm, stem_policy=adapt_stem)
        plan.left_out += [*found.dropped, *found.outside]
    elif final_norm:
        message = f'final_norm=True is for a ConvNeXt, and the backbone is a {type(backbone).__name__}. Leave it out.'
        raise CheckpointError(message, final_norm=True)
    elif isinstance(backbone, TimmFeatures):
        plan = fit_timm(backbone, tensors, source, prefix)
    else:
        plan = fit_by_name(backbone, tensors, source, prefix)
    plan.notes += notes
    return _load(backbone, plan, source)


def load_detector(model: nn.Module, checkpoint: str | Path, *, strict: bool = True, allow_pickle: bool = False) -> str:
    """Loads a whole detector or segmentor. In the file a ConvNeXt may have the names of any dialect.

    Args:
        model: It keeps its values if an error is raised.
        checkpoint: See :func:`~mmconvnext.checkpoints.locate.locate`.
        strict: Require all tensors of the model. Otherwise tensors outside of the backbone that are missing or have
            another shape, as those of the last layers do with other classes, keep their values and are named.
        allow_pickle: Read files that hold Python objects. Reading them can run any code.

    Returns:
        One line that says what was loaded. It is logged, too.

    Raises:
        CheckpointError: If the checkpoint cannot be found or read, or does not fit.
    """
    source = str(checkpoint)
    model = unwrap(model)
    tensors, notes = tensors_in(read_file(locate(checkpoint), allow_pickle), source)
    plan = fit_detector(model, tensors, source, strict=strict)
    plan.notes += notes
    return _load(model, plan, source)


@WEIGHT_INITIALIZERS.register_module()
class ConvNeXtPretrained:
    """``init_cfg`` that loads a checkpoint into a backbone: ``dict(type='ConvNeXtPretrained', checkpoint=...)``.

    In a backbone of this package ``type='Pretrained'`` does the same.

    Args:
        checkpoint: A path, a URL, ``hf-hub:org/name``, or a short name, such as ``convnext_tiny.in1k``.
        map_location: Accepted because ``Pretrained`` has it. Files are always read on the CPU.
        options: ``prefix``, ``key``, ``final_norm``, ``adapt_stem`` and ``allow_pickle`` of
            :func:`load_pretrained`.
    """

    def __init__(self, checkpoint: str, *, map_location: Any = None, **options: Any) -> None:
        self.checkpoint = checkpoint
        self.options = options

    def __call__(self, module: DenseBackbone) -> None:
        """Loads the checkpoint into ``module``. Errors are those of :func:`load_pretrained`."""
        load_pretrained(module, self.checkpoint, **self.options)


def unwrap(model: nn.Module) -> nn.Module:
    """Returns the model inside wrappers for distributed training and test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.get_submodule('module')
    return model


def _load(model: nn.Module, plan: LoadPlan, source: str) -> str:
    model.load_state_dict(plan.state, strict=False)  # it was checked; only the fresh tensors are missing
    report = plan.report(source)
    MMLogger.get_current_instance().info(report)
    return report
