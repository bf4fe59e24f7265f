"""Notices a warm-up that does not end before the training does."""

from collections.abc import Mapping
from typing import Any

from mmconvnext.config_tree import as_list

# MMEngine's schedules for a warm-up. The number is the factor of the learning rate that each starts from by default
WARMUPS = {'LinearLR': 1 / 3, 'ConstantLR': 1 / 3, 'QuadraticWarmupLR': 0.0}
SHORTER = 10  # a warm-up takes a tenth of the training or less in the usual recipes


def unfinished_warmups(schedules: Any, *, steps: int, epochs: int | None) -> list[str]:
    """Returns a sentence for each warm-up that is longer than the training, with the option that shortens it.

    Args:
        schedules: ``param_scheduler`` of a config: a dictionary, or a list of them.
        steps: The length of the whole training in steps.
        epochs: The same length in epochs; None if the training is counted in steps.
    """
    listed = [one for one in as_list(schedules) if isinstance(one, Mapping)]
    sentences = []
    for index, one in enumerate(listed):
        unit, length = ('epochs', epochs) if one.get('by_epoch', True) else ('iterations', steps)
        kind, end = one.get('type'), one.get('end')
        if kind not in WARMUPS or length is None or end is None:
            continue
        start = one.get('start_factor', one.get('factor', WARMUPS[kind]))
        if start >= one.get('end_factor', 1.0):  # this schedule lowers the learning rate
            continue
        if end > length:
            shorter = max(2, length // SHORTER)
            key = f'param_scheduler.{index}' if isinstance(schedules, list | tuple) else 'param_scheduler'
            options = [f'{key}.end={shorter}']
            options += [
                f'param_scheduler.{i}.begin={shorter}' for i, other in enumerate(listed) if other.get('begin') == end
            ]
            sentences.append(
                f'the warm-up of {key} takes {end} {unit}, and the whole training has {length}: the learning rate '
                f'never reaches that of the config. For a shorter one add --cfg-options {" ".join(options)}'
            )
    return sentences
