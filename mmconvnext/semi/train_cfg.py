"""Checks of ``semi_train_cfg``: MMDetection reads it without looking at what it does not know."""

from collections.abc import Iterable, Mapping
from typing import Any

from mmconvnext.errors import UserError


def check_names(settings: Mapping[str, Any], known: Iterable[str], model: str) -> None:
    """Checks that a model reads every setting.

    Raises:
        UserError: If it does not read one. ``facts['unknown']`` has the names.
    """
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise UserError(
            f'semi_train_cfg has {", ".join(unknown)}, which {model} does not read. It reads {", ".join(known)}.',
            unknown=unknown,
        )


def check_range(settings: Mapping[str, Any], name: str, low: float, high: float) -> float:
    """Returns a number of ``semi_train_cfg``.

    Raises:
        UserError: If it is no number from ``low`` to ``high``. ``facts['key']`` has its name.
    """
    value = settings.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise UserError(
            f'semi_train_cfg.{name} is {value!r}; it must be a number from {low:g} to {high:g}.',
            key=f'semi_train_cfg.{name}',
        )
    return float(value)
