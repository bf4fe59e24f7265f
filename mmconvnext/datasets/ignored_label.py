"""Checks that the parts of a segmentor agree about which label is ignored."""

from collections.abc import Iterable, Sequence

from mmengine.config import ConfigDict

from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.label_values import IGNORED
from mmconvnext.datasets.num_classes import class_heads, losses


def ignored_by_heads(model: ConfigDict) -> frozenset[int]:
    """Returns the labels, as loaded, that every head of a segmentor ignores; 255 unless the heads say otherwise."""
    ignored = [{label} for label in _by_heads(model).values() if label is not None]
    return frozenset.intersection(*map(frozenset, ignored)) if ignored else frozenset({IGNORED})


def check_trained_label(
    findings: Findings, model: ConfigDict, classes: Sequence[str], name: str, has_255: bool
) -> None:
    """Checks that the heads of a segmentor ignore what its training data marks as ignored.

    Args:
        findings: Gets what was found.
        model: The segmentor's config.
        classes: The dataset's classes.
        name: What the config calls the dataset, such as ``train_dataloader.dataset``.
        has_255: Whether label maps hold 255 when they are loaded.
    """
    padding = (model.get('data_preprocessor') or {}).get('seg_pad_val', IGNORED)
    by_heads = _by_heads(model)
    labels = set(by_heads.values())
    for key, label in by_heads.items():
        if label is None:  # its losses ignore nothing
            continue
        if has_255 and label != IGNORED:
            findings.add(
                'head-knows-no-255',
                Severity.REFUSES,
                name,
                f'heads ignore another label than {IGNORED}, but loaded label maps hold {IGNORED} (from the file, from '
                '0 with reduce_zero_label=True, or from a class that is not used), which the loss cannot take',
                f'Set ignore_index={IGNORED} in the heads, or leave it out. Give pixels to be ignored the value '
                f'{IGNORED}.',
                example=f'{key}.ignore_index is {label}',
            )
        elif padding != label:
            is_class = 0 <= padding < len(classes)
            fate = f'learnt as {classes[padding]!r}' if is_class else 'no class, which the loss cannot take'
            findings.add(
                'padding-is-learnt',
                Severity.CHANGES if is_class else Severity.REFUSES,
                name,
                'heads do not ignore the padding of images: its label, model.data_preprocessor.seg_pad_val, is '
                f'{padding}, so that it is {fate}',
                f'Set model.data_preprocessor.seg_pad_val={label}.'
                if len(labels) == 1
                else f'Set ignore_index={padding} of all heads, or leave it out.',
                example=f'{key}.ignore_index is {label}',
            )
    for key, head in class_heads(model):
        label = head.get('ignore_index', IGNORED)
        for loss in losses(head):
            if loss.get('ignore_index', label) != label:
                findings.add(
                    'loss-ignores-another-label',
                    Severity.CHANGES,
                    name,
                    'losses ignore another label than their heads',
                    'Give both the same ignore_index.',
                    example=f'{key}.loss_decode.ignore_index is {loss.ignore_index}, {key}.ignore_index {label}',
                )


def check_evaluated_label(
    findings: Findings,
    model: ConfigDict,
    evaluators: Iterable[ConfigDict],
    classes: Sequence[str],
    name: str,
    has_255: bool,
) -> None:
    """Checks what the ``IoUMetric`` of an evaluation ignores against what the heads ignore and the maps hold.

    Args:
        findings: Gets what was found.
        model: The segmentor's config.
        evaluators: Configs of the evaluators.
        classes: The dataset's classes.
        name: What the config calls the dataset, such as ``val_dataloader.dataset``.
        has_255: Whether label maps hold 255 when they are loaded.
    """
    learnt = [label for label in _by_heads(model).values() if label is not None]
    for evaluator in evaluators:
        if evaluator.get('type') != 'IoUMetric':
            continue
        label = evaluator.get('ignore_index', IGNORED)
        if has_255 and label != IGNORED:
            findings.add(
                'evaluator-counts-255',
                Severity.CHANGES,
                name,
                f'is evaluated with ignore_index={label}, but its loaded label maps hold {IGNORED}, so that every '
                'prediction there counts as wrong',
                f'Set ignore_index={IGNORED} of IoUMetric, or leave it out.',
                count=0,
            )
        for ignored in sorted({other for other in learnt if 0 <= other < len(classes) and other != label}):
            findings.add(
                'evaluator-counts-what-heads-ignore',
                Severity.CHANGES,
                name,
                f'is evaluated with the class {classes[ignored]!r}, which heads of the model ignore, so that it is not '
                'learnt',
                f'Set ignore_index={ignored} of IoUMetric too, or leave ignore_index of the heads out.',
                count=0,
            )


def _by_heads(model: ConfigDict) -> dict[str, int | None]:
    """Returns the label that each head ignores, by the head's dotted name."""
    return {key: head.get('ignore_index', IGNORED) for key, head in class_heads(model)}
