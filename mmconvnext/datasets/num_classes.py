"""Checks that the heads of a model have as many classes as the data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import ConfigDict

from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.listing import first_few

# An RPN tells objects from background, and the semantic head of HTC has classes of its own
OTHER_CLASSES = ('rpn_head', 'semantic_head')


def check_num_classes(model: ConfigDict, classes: Sequence[str], name: str) -> None:
    """Checks ``num_classes`` of all heads.

    Args:
        model: A model's config.
        classes: The dataset's classes.
        name: What the config calls the dataset, such as ``train_dataloader.dataset``.

    Raises:
        DataError: If any differs (the message names all keys), or if a head with one output has a softmax loss.
    """
    wrong = {key: count for key, count in class_counts(model).items() if count != len(classes)}
    if wrong:
        lines = [f'the heads of the model do not have the number of classes of {name}, {len(classes)}:']
        lines += [f'    {key} is {count}' for key, count in wrong.items()]
        lines += [f'The classes are {first_few(classes, 10)}. If that is right, add']
        lines += [f'    {num_classes_options(model, len(classes))}']
        lines += [f'If num_classes is right, set {name}.metainfo.classes: docs/your_own_data.md shows how.']
        raise DataError('\n'.join(lines))
    for key, head in class_heads(model):
        if head.get('out_channels') == 1 and any(_is_softmax(loss) for loss in losses(head)):
            raise DataError(
                f'{key}.out_channels is 1, but its loss_decode is a softmax, which needs an output for each class. Set '
                "loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True), or leave out_channels out."
            )


def num_classes_options(model: ConfigDict, count: int) -> str:
    """Returns the command-line option that gives every head of the model this number of classes."""
    return ' '.join(['--cfg-options', *(f'{key}={count}' for key in class_counts(model))])


def class_counts(model: ConfigDict) -> dict[str, int]:
    """Returns ``num_classes`` of every head that has the data's classes, by dotted name."""
    return {f'{key}.num_classes': head.num_classes for key, head in class_heads(model) if 'num_classes' in head}


def class_heads(model: ConfigDict) -> Iterator[tuple[str, ConfigDict]]:
    """Yields the heads of a model that have the data's classes, by dotted name; of a classifier its network."""
    yield from _heads(model, 'model')


def losses(head: ConfigDict) -> list[ConfigDict]:
    """Returns the configs of the losses of a segmentor's head."""
    given = head.get('loss_decode') or []
    return [given] if isinstance(given, Mapping) else list(given)


def _is_softmax(loss: ConfigDict) -> bool:
    return loss.get('type') == 'CrossEntropyLoss' and not loss.get('use_sigmoid') and not loss.get('use_mask')


def _heads(node: Any, key: str) -> Iterator[tuple[str, ConfigDict]]:
    if isinstance(node, ConfigDict):
        last = next(part for part in reversed(key.split('.')) if not part.isdigit())
        of_classifier = last == 'backbone' and 'num_classes' in node
        if of_classifier or (last.endswith('_head') and last not in OTHER_CLASSES):
            yield key, node
        for name, child in node.items():
            yield from _heads(child, f'{key}.{name}')
    elif isinstance(node, list | tuple):
        for index, child in enumerate(node):
            yield from _heads(child, f'{key}.{index}')
