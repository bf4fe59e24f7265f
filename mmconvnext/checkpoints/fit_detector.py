"""Checks the tensors of a whole detector, segmentor or classifier against a model, without changing the model."""

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from mmconvnext.backbones.contract import DenseBackbone
from mmconvnext.backbones.convnext import ConvNeXt
from mmconvnext.checkpoints.check_tensors import check_tensors
from mmconvnext.checkpoints.errors import CheckpointError, count_and_list
from mmconvnext.checkpoints.fit_backbone import fit_backbone
from mmconvnext.checkpoints.fit_classifier import find_classifier, fit_classifier
from mmconvnext.checkpoints.load_plan import LoadPlan
from mmconvnext.checkpoints.recognise import Found, prefixes_of, recognise

# Tensors that files may hold and models do not: copies by MMCV 1's EMA hook, and the images' mean and standard
# deviation, which the config gives
OBSOLETE = ('ema_', 'data_preprocessor.')

# What the heads are called in models of each kind
HEADS = {'a segmentor': {'decode_head'}, 'a detector': {'rpn_head', 'roi_head', 'bbox_head'}}


def fit_detector(model: nn.Module, tensors: Mapping[str, Tensor], source: str, *, strict: bool = True) -> LoadPlan:
    """Checks tensors against ``model``.

    Args:
        model: A detector, segmentor or classifier.
        tensors: A ConvNeXt's may have the names of any dialect, the others have the model's own.
            The names of Mask R-CNN, Cascade R-CNN and UperNet are the same in all versions of these.
        source: The file's name for messages.
        strict: Require all tensors of the model. Otherwise tensors outside of the backbone that are missing or have
            another shape, as those of the last layers do with other classes, keep their values.

    Raises:
        CheckpointError: If they do not fit.
    """
    if (of_classifier := find_classifier(model)) is not None:
        path, classifier = of_classifier
        return fit_classifier(classifier, path, tensors, source, strict=strict)
    modules = dict(model.named_modules())
    paths: dict[str, nn.Module] = {path: m for path, m in modules.items() if isinstance(m, DenseBackbone)}
    if not paths and 'backbone' in modules:  # OpenMMLab's own
        paths = {'backbone': modules['backbone']}
    if not paths:
        name = type(model).__name__
        raise CheckpointError(f'{name} has no backbone to load {source} into.', file=source, model=name)
    tensors = _for_student_and_teacher(model, tensors, source)
    root = _prefix_of_model(tensors, next(iter(paths)), source)
    backbones = {path: module for path, module in paths.items() if isinstance(module, ConvNeXt)}
    rest = {name.removeprefix(root): tensor for name, tensor in tensors.items() if name.startswith(root)}
    rest_wanted = dict(model.state_dict())
    obsolete = [name for name in rest if name.startswith(OBSOLETE) and name not in rest_wanted]
    rest = {name: tensor for name, tensor in rest.items() if name not in obsolete}
    obsolete += [name for name in tensors if not name.startswith(root)]
    kind, kind_wanted = _kind(rest), _kind(rest_wanted)
    if strict and kind and kind_wanted and kind != kind_wanted:
        message = (
            f'{source} is of {kind}, and the config is of {kind_wanted}. Give the config that it was trained with; to '
            f'start the backbone from it, use tools/train.py --pretrained {source}.'
        )
        raise CheckpointError(message, file=source, kind=kind, wanted=kind_wanted)
    plan = LoadPlan(total=len(rest_wanted), notes=[f'{count_and_list(obsolete, 1)} left out'] if obsolete else [])
    for path, module in backbones.items():
        found = _recognise_backbone(f'{path}.', rest, source)
        part = fit_backbone(module, found, stem_policy='refuse' if strict else 'repeat')
        if strict and part.fresh:
            message = f'{source} lacks {count_and_list(part.fresh)} of {path}, the norms of its outputs.'
            raise CheckpointError(message, file=source, missing=part.fresh)
        plan.state |= {f'{path}.{name}': tensor for name, tensor in part.state.items()}
        plan.fresh += [f'{path}.{name}' for name in part.fresh]
        plan.notes += part.notes
        if left_out := [f'{path}.{name}' for name in part.left_out] + found.dropped:
            plan.notes.append(f'{count_and_list(left_out)} left out')
        plan.origin = part.origin
        rest = {name: tensor for name, tensor in rest.items() if not name.startswith(f'{path}.')}
        rest_wanted = {name: tensor for name, tensor in rest_wanted.items() if not name.startswith(f'{path}.')}

    # BatchNorms of old PyTorch versions did not count batches, and the count is only used without momentum
    uncounted = [name for name in rest_wanted if name.endswith('.num_batches_tracked') and name not in rest]
    rest_wanted = {name: tensor for name, tensor in rest_wanted.items() if name not in uncounted}
    plan.total -= len(uncounted)
    if not strict:
        checked = {n for n in rest.keys() & rest_wanted.keys() if rest[n].shape == rest_wanted[n].shape}
        checked |= {n for n in rest.keys() | rest_wanted.keys() if n.startswith(tuple(f'{path}.' for path in paths))}
        plan.left_out += [name for name in rest if name not in checked]
        plan.fresh += [name for name in rest_wanted if name not in checked]
        rest = {name: tensor for name, tensor in rest.items() if name in checked}
        rest_wanted = {name: tensor for name, tensor in rest_wanted.items() if name in checked}
    plan.origin = plan.origin or f'source {", ".join(sorted({type(module).__name__ for module in paths.values()}))}'
    plan.state |= check_tensors(rest, rest_wanted, source)
    return plan


def _for_student_and_teacher(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> Mapping[str, Tensor]:
    """Returns an ordinary detector's tensors twice, if the model is a student and a teacher; otherwise all as they are.

    MMDetection's semi-supervised detectors do so as well: both start from the same detector.
    """
    parts = ('student', 'teacher')
    if not all(hasattr(model, part) for part in parts) or any(set(name.split('.')) & set(parts) for name in tensors):
        return tensors
    root = _prefix_of_model(tensors, 'backbone', source)
    own = {name.removeprefix(root): tensor for name, tensor in tensors.items() if name.startswith(root)}
    return {f'{part}.{name}': tensor for part in parts for name, tensor in own.items()}


def _kind(names: Iterable[str]) -> str | None:
    """What kind of model has tensors of these names; None if that cannot be told."""
    parts = {name.partition('.')[0] for name in names}
    found = [kind for kind, heads in HEADS.items() if parts & heads]
    return found[0] if len(found) == 1 else None


def _prefix_of_model(names: Iterable[str], path: str, source: str) -> str:
    """Returns what precedes the model's own names in a file, such as ``model.``, if its backbone is at ``path``."""
    prefixes = prefixes_of(names)
    roots = [p.removesuffix(f'{path}.') for p in prefixes if f'.{p}'.endswith(f'.{path}.')]
    if len(roots) > 1 and '' not in roots:
        message = (
            f'{source} holds {len(roots)} models, under {" and ".join(roots)}. Extract one of them first: '
            f'tools/convert_checkpoint.py {source} NEW.pth --to mmconvnext --prefix {roots[0]}{path}'
        )
        raise CheckpointError(message, file=source, prefixes=roots)
    return roots[0] if len(roots) == 1 else ''


def _recognise_backbone(prefix: str, tensors: Mapping[str, Tensor], source: str) -> Found:
    if not any(name.startswith(prefix) for name in tensors):
        found = recognise(tensors, source)
        message = (
            f'{source} is {found.dialect.label} {found.network} alone, with nothing under {prefix}, and no detector or '
            f'segmentor. To start the backbone from it, use tools/train.py --pretrained {source}.'
        )
        raise CheckpointError(message, file=source, prefix=prefix)
    return recognise(tensors, source, prefix)
