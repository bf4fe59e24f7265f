"""Checks the tensors of an image classifier against a model, without changing the model."""

from collections.abc import Mapping

from torch import Tensor, nn

from mmconvnext.backbones.classifier import ConvNeXtClassifier
from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.checkpoints.fit_backbone import fit_backbone
from mmconvnext.checkpoints.load_plan import LoadPlan
from mmconvnext.checkpoints.recognise import recognise


def fit_classifier(
    classifier: ConvNeXtClassifier, path: str, tensors: Mapping[str, Tensor], source: str, *, strict: bool = True
) -> LoadPlan:
    """Checks tensors of a ConvNeXt, in the names of any dialect, against the classifier of a model.

    Args:
        classifier: From :func:`find_classifier`.
        path: Where it is in the model, such as ``backbone``. The plan is for the model.
        tensors: All tensors of a file.
        source: The file's name for messages.
        strict: Require the final norm and a head with as many classes. Otherwise they stay as they are where the file
            does not have them.

    Raises:
        CheckpointError: If they do not fit.
    """
    found = recognise(tensors, source)
    plan = fit_backbone(classifier, found, stem_policy='refuse' if strict else 'repeat')
    if strict and plan.fresh:
        head = found.state.get('head.weight')
        if head is None:
            why = (
                f'{source} is {found.dialect.label} {found.network} without a classifier, so it has no classes to '
                f'evaluate. Fine-tune it first: tools/finetune.py CONFIG --pretrained {source}'
            )
        elif len(head) != classifier.num_classes:
            why = (
                f'{source} tells {len(head)} classes apart, and the model {classifier.num_classes}. Give a file of the '
                f'same classes, or set --cfg-options model.{path}.num_classes={len(head)} with data of these classes.'
            )
        else:
            why = f'{source} lacks {", ".join(plan.fresh)} of a classifier. The file is not whole.'
        raise CheckpointError(
            why,
            file=source,
            missing=plan.fresh,
            classes=None if head is None else len(head),
            wanted=classifier.num_classes,
        )
    plan.left_out += [*found.dropped, *found.outside]
    plan.state = {f'{path}.{name}': tensor for name, tensor in plan.state.items()}
    plan.fresh = [f'{path}.{name}' for name in plan.fresh]
    return plan


def find_classifier(model: nn.Module) -> tuple[str, ConvNeXtClassifier] | None:
    """Returns the classifier of a model, after where it is; None if the model has none, or other tensors beside it."""
    found = [(path, module) for path, module in model.named_modules() if isinstance(module, ConvNeXtClassifier)]
    if len(found) != 1 or not all(name.startswith(f'{found[0][0]}.') for name in model.state_dict()):
        return None
    return found[0]
