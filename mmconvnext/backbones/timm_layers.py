"""Which layer and which stage each parameter of a timm model is in, by timm's own groups of parameters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TimmLayers:
    """Where the parameters of a timm model are.

    timm numbers groups of parameters from the image on: the stem is group 0, each block has one, and what follows the
    blocks comes last. A stage ends with the group of the module whose output it is.

    Args:
        groups: Number of the group by the name of the parameter, of the whole model.
        ends: The last group of each stage, in ascending order.
    """

    groups: Mapping[str, int]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, groups: Mapping[str, int], modules: Sequence[str]) -> 'TimmLayers':
        """Finds where the stages end.

        Args:
            groups: Number of the group by the name of the parameter.
            modules: Name of the module with whose output each stage ends.
        """
        ends: list[int] = []
        for module in modules:
            inside = [group for name, group in groups.items() if name.startswith(f'{module}.')]
            ends.append(max(inside, default=ends[-1] if ends else 0))
        return cls(groups, tuple(ends))

    def stage_of(self, name: str) -> int:
        """Stage of a parameter, counted from 0; -1 is the stem."""
        group = self.groups[name]
        if group == 0:
            return -1
        return next((stage for stage, end in enumerate(self.ends) if group <= end), len(self.ends) - 1)

    def layer_of(self, name: str, num_layers: int) -> int:
        """Learning-rate layer of a parameter, from 0 (the stem) to ``num_layers``.

        The blocks are shared out evenly by depth. For ConvNeXt-T with 6 layers, and for the larger ones with 12, this
        is the authors' rule: three blocks a layer.
        """
        return min(math.ceil(self.groups[name] * num_layers / self.ends[-1]), num_layers)
