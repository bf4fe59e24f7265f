"""How a dialect, which is one code base's way to name and lay out tensors, is read and written by the same table."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

FIELD = re.compile(r'\{(\d*)([a-z])(?:\+(\d+))?\}')

# Fields that hold a text: a parameter, one of two modules of a stem, and the first or second linear layer of a block
CHOICES = {'p': 'weight|bias', 'k': '0|1', 'n': '1|2'}

STAGES = 4  # {i} counts from 0 to 3


class Pattern:
    """A pattern of names, such as ``features.{2i+1}.{j}.block.0.{p}``.

    ``{i}`` is a stage, ``{j}`` a number of up to three digits, ``{2i+1}`` a number that is computed from a stage, and
    ``{p}``, ``{k}`` and ``{n}`` are one of their :data:`CHOICES`.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.fields = [(m[2], int(m[1] or 1), int(m[3] or 0)) for m in FIELD.finditer(text)]
        fixed = [re.escape(part) for part in FIELD.sub('\0', text).split('\0')]
        groups = [f'({CHOICES.get(letter, r"[0-9]{1,3}")})' for letter, _, _ in self.fields]
        self.regex = re.compile(fixed[0] + ''.join(group + part for group, part in zip(groups, fixed[1:])))

    def read(self, name: str) -> dict[str, int | str] | None:
        """Returns the values of the fields in ``name``, or None if it does not match."""
        found = self.regex.fullmatch(name)
        if found is None:
            return None
        values: dict[str, int | str] = {}
        for (letter, factor, offset), text in zip(self.fields, found.groups()):
            if letter in CHOICES:
                values[letter] = text
                continue
            value, rest = divmod(int(text) - offset, factor)
            if rest or value < 0 or (letter == 'i' and value >= STAGES):
                return None
            values[letter] = value
        return values

    def write(self, values: Mapping[str, int | str]) -> str:
        """Returns the name with these values in its fields."""

        def fill(match: re.Match[str]) -> str:
            value = values[match[2]]
            return value if isinstance(value, str) else str(int(match[1] or 1) * value + int(match[3] or 0))

        return FIELD.sub(fill, self.text)


class Layout(NamedTuple):
    """How a dialect reshapes a tensor, and how this package gets it back."""

    to_theirs: Callable[[Tensor], Tensor]
    to_ours: Callable[[Tensor], Tensor] = lambda t: t


@dataclass(frozen=True, eq=False)
class Dialect:
    """Names and layouts of one code base.

    Args:
        name: The argument of ``tools/convert_checkpoint.py --to``. Dialects may share a name; a conversion then uses
            the one that has names for most of the tensors.
        label: The name in messages.
        names: Their pattern by this package's pattern.
        backbone_prefix: The prefix of the backbone in their classifier.
        names_outside: Like ``names``, for tensors outside of ``backbone_prefix``.
        aliases: This package's pattern by a second name that files of this dialect may use.
        dropped: First parts of the names of tensors that belong neither to a backbone nor to a classifier.
        layouts: By this package's pattern, where their layout differs.
        licence: Licence of the weights, if all published weights of this dialect have the same.
        entry: The entry of a .pth file that holds the tensors, if they are not at the top.
    """

    name: str
    label: str
    names: Mapping[str, str]
    backbone_prefix: str = ''
    names_outside: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    licence: str | None = None
    entry: str | None = None

    @cached_property
    def _inside(self) -> list[tuple[Pattern, Pattern]]:
        aliases = ((ours, theirs) for theirs, ours in self.aliases.items())
        return [(Pattern(ours), Pattern(theirs)) for ours, theirs in (*self.names.items(), *aliases)]

    @cached_property
    def _outside(self) -> list[tuple[Pattern, Pattern]]:
        return [(Pattern(ours), Pattern(theirs)) for ours, theirs in self.names_outside.items()]

    @cached_property
    def _dwconv(self) -> Pattern:
        weight = next(theirs for ours, theirs in self._inside if ours.read('stages.0.0.dwconv.weight'))
        return Pattern(weight.text.replace('{p}', 'weight'))

    def prefix_of(self, name: str) -> str | None:
        """Returns the prefix of a depthwise convolution's weight, by which networks are found; None for other names."""
        found = self._dwconv.regex.search(name)
        if found is None or found.end() != len(name) or name[: found.start()][-1:] not in ('', '.'):
            return None
        return name[: found.start()]

    def to_ours(self, name: str, tensor: Tensor, outside: bool = False) -> tuple[str, Tensor] | None:
        """Returns this package's name and layout of their tensor, or None if the dialect has no such name."""
        for ours, theirs in self._outside if outside else self._inside:
            values = theirs.read(name)
            if values is not None:
                own = ours.write(values)
                layout = self.layouts.get(ours.text)
                return own, _squeeze(own, layout.to_ours(tensor) if layout else tensor)
        return None

    def to_theirs(self, name: str, tensor: Tensor) -> tuple[str, Tensor] | None:
        """Returns their name and layout of this package's tensor, or None if the dialect has no name for it."""
        for rules, prefix in ((self._outside, ''), (self._inside, self.backbone_prefix)):
            for ours, theirs in rules:
                values = ours.read(name)
                if values is not None:
                    layout = self.layouts.get(ours.text)
                    return prefix + theirs.write(values), layout.to_theirs(tensor) if layout else tensor
        return None


def _squeeze(name: str, tensor: Tensor) -> Tensor:
    """Removes additional axes of size 1 from vectors and from weights of linear layers."""
    if name.endswith(('.gamma', '.beta', '.bias')):
        ndim = 1
    elif '.pwconv' in name or name == 'head.weight':
        ndim = 2
    else:
        return tensor
    while tensor.ndim > ndim and tensor.shape[-1] == 1:
        tensor = tensor.squeeze(-1)
    while tensor.ndim > ndim and tensor.shape[0] == 1:
        tensor = tensor.squeeze(0)
    return tensor
