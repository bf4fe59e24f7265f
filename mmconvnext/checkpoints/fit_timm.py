"""Checks tensors against a network of timm, under timm's names or others that timm reads."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmconvnext.backbones.timm_features import TimmFeatures, import_timm
from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.checkpoints.fit_by_name import fit_by_name
from mmconvnext.checkpoints.load_plan import LoadPlan

INSIDE = 'model.'  # what precedes timm's names in a TimmFeatures


def fit_timm(backbone: TimmFeatures, tensors: Mapping[str, Tensor], source: str, prefix: str | None = None) -> LoadPlan:
    """Checks all tensors of the network; output norms, which classifiers do not have, stay as they are.

    Args:
        backbone: The backbone, which may be on the meta device.
        tensors: Of timm's classifier, of one that timm converts, such as torchvision's DenseNet and the authors' Swin,
            or of a detector or segmentor with this backbone.
        source: The file's name for messages.
        prefix: What precedes timm's names, such as ``backbone.model.``. By default it is found.

    Raises:
        CheckpointError: If they do not fit, or if the file holds several networks that do.
    """
    if prefix is None:
        prefixes = _prefixes(backbone, tensors)
        if len(prefixes) > 1:
            message = (
                f'{source} holds {len(prefixes)} networks of this kind, under {" and ".join(map(repr, prefixes))}. '
                'Choose one with prefix=....'
            )
            raise CheckpointError(message, file=source, prefixes=prefixes)
        prefix = prefixes[0] if prefixes else ''
        if not prefixes and (converted := _converted(backbone, tensors)):
            plan = fit_by_name(backbone, converted, source, prefix)
            plan.notes.append('names converted by timm')
            return plan
    return fit_by_name(backbone, tensors, source, prefix)


def _prefixes(backbone: TimmFeatures, tensors: Mapping[str, Tensor]) -> list[str]:
    """Returns what precedes timm's names where all of them are there."""
    names = [name.removeprefix(INSIDE) for name in backbone.state_dict() if name.startswith(INSIDE)]
    # Files of old PyTorch versions have no counts of batches
    names = [name for name in names if not name.endswith('.num_batches_tracked')]
    prefixes = [name.removesuffix(names[0]) for name in tensors if f'.{name}'.endswith(f'.{names[0]}')]
    return [prefix for prefix in prefixes if all(prefix + name in tensors for name in names)]


def _converted(backbone: TimmFeatures, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Returns the tensors under timm's names; None if timm cannot read them, or not all of them."""
    heads = [backbone.classifier, backbone.classifier.partition('.')[0]]  # the second is that of the authors' Swin
    classes = next((len(tensors[f'{head}.weight']) for head in heads if f'{head}.weight' in tensors), 0)
    # Counts of batches, which are only used without momentum, timm does not rename
    state = {name: tensor for name, tensor in tensors.items() if not name.endswith('.num_batches_tracked')}
    overlay: dict[str, Any] = dict(state_dict=state, num_classes=classes, custom_load=False)
    try:
        model = import_timm().create_model(
            backbone.model_name,
            pretrained=True,  # from the overlay's state_dict; timm requires all tensors and no others
            num_classes=classes,
            pretrained_cfg_overlay=overlay,
            **backbone.timm_args,
        )
    except (RuntimeError, KeyError):
        return None
    return model.state_dict()
