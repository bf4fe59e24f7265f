"""Names of tensors as patterns, which are read and written alike."""

import re
from collections.abc import Mapping

FIELD = re.compile(r'\{(\d*)([a-z])(?:\+(\d+))?\}')

# Fields that are no numbers: a parameter, one of the two modules of a stem, and a block's first or second linear layer
CHOICES = {'p': 'weight|bias', 'k': '0|1', 'n': '1|2'}

STAGES = 4  # which {i} counts


class Pattern:
    """Names that differ in a few places only: ``features.{2i+1}.{j}.block.0.{p}``.

    ``{i}`` stands for a stage of the four, ``{j}`` for a whole number of up to three digits, ``{2i+1}`` for one that
    follows from it, and ``{p}`` for one of its choices.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.fields = [(m[2], int(m[1] or 1), int(m[3] or 0)) for m in FIELD.finditer(text)]
        fixed = [re.escape(part) for part in FIELD.sub('\0', text).split('\0')]
        groups = [f'({CHOICES.get(letter, r"[0-9]{1,3}")})' for letter, _, _ in self.fields]
        self.regex = re.compile(fixed[0] + ''.join(group + part for group, part in zip(groups, fixed[1:])))

    def read(self, name: str) -> dict[str, int | str] | None:
        """What the fields are in ``name``, or None if it is no such name."""
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
        """The name that has these values in its fields."""

        def fill(field: re.Match[str]) -> str:
            value = values[field[2]]
            return value if isinstance(value, str) else str(int(field[1] or 1) * value + int(field[3] or 0))

        return FIELD.sub(fill, self.text)
