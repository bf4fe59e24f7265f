"""timm, whose augmentation, mixing and losses do the work, and checks of what configs give its classes."""

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from mmconvnext.backbones import timm_features
from mmconvnext.errors import UserError


def import_timm() -> None:
    """Imports timm.

    Raises:
        UserError: If it is not installed.
    """
    timm_features.import_timm('ImageNet classification', extra='imagenet')


def check_arguments(key: str, taker: Callable, given: Mapping[str, Any], ours: Collection[str] = ()) -> None:
    """Checks the names of arguments for a class or function of timm.

    Args:
        key: Where they are in the config, for messages.
        taker: The class or function.
        given: The arguments.
        ours: Names of arguments that it has, but that are decided elsewhere.

    Raises:
        UserError: If it does not have one of them; ``facts['near']`` is the name that is close, if there is one.
    """
    known = [name for name in inspect.signature(taker).parameters if name not in ours]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise UserError(
                f"{key} has {name}, which is no argument of timm's {taker.__name__} here"
                f'{f"; did you mean {near[0]}?" if near else "."} Its arguments are {", ".join(known)}.',
                argument=name,
                near=near[0] if near else None,
            )
