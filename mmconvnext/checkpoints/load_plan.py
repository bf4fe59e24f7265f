"""What a checked checkpoint will change in a model, and the line of the log that says so."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class LoadPlan:
    """Tensors that were checked against a model, and remarks for the log.

    Args:
        state: What to load, under the model's names and in the model's shapes and types.
        total: How many tensors a complete checkpoint has for the model.
        fresh: Names of the model's tensors that keep their values.
        left_out: Names of the checkpoint's tensors that are not used.
        notes: Further remarks.
        origin: Whose network it is, and its licence.
    """

    state: dict[str, Tensor] = field(default_factory=dict)
    total: int = 0
    fresh: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    origin: str = ''

    def report(self, source: str) -> str:
        """One line, such as ``x.pth: 178 of 178 tensors, norm0-3 fresh, source official V1 tiny, licence MIT``."""
        parts = [f'{len(self.state)} of {self.total} tensors']
        if self.fresh:
            parts.append(f'{_modules(self.fresh)} fresh')
        if self.left_out:
            parts.append(f'{", ".join(dict.fromkeys(name.split(".")[0] for name in self.left_out))} left out')
        return f'{source}: {", ".join([*parts, *self.notes, self.origin])}'


def _modules(names: Iterable[str]) -> str:
    """Lists the modules of tensors; consecutive output norms are shortened to ``norm0-3``."""
    modules = list(dict.fromkeys(name.rpartition('.')[0] for name in names))
    numbers = [int(found[1]) for module in modules if (found := re.fullmatch(r'norm(\d)', module))]
    if len(numbers) == len(modules) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f'norm{numbers[0]}-{numbers[-1]}'
    return ', '.join(modules)
