"""Finds the layer and the stage of each parameter of a timm model, by timm's own groups of parameters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TimmLayers:
    """The layer and the stage of each parameter of a timm model.

    timm numbers groups of parameters from the input on: the stem is group 0, each block is a group, and the layers
    after the blocks come last. A stage ends with the group of the module that computes its output.

    Args:
        groups: Number of the group of each parameter of the whole model, by the parameter's name.
        ends: The last group of each stage, in ascending order.
    """

    groups: Mapping[str, int]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, groups: Mapping[str, int], modules: Sequence[str]) -> 'TimmLayers':
        """Finds where the stages end.

        Args:
            groups: Number of the group of each parameter, by its name.
            modules: For each stage, the name of the module that computes its output.
        """
        ends: list[int] = []
        for module in modules:
            inside = [group for name, group in groups.items() if name.startswith(f'{module}.')]
            ends.append(max(inside, default=ends[-1] if ends else 0))
        return cls(groups, tuple(ends))

    def stage_of(self, name: str) -> int:
        """Returns the stage of a parameter, counted from 0; -1 is the stem."""
        group = self.groups[name]
        if group == 0:
            return -1
        return next((stage for stage, end in enumerate(self.ends) if group <= end), len(self.ends) - 1)

    def layer_of(self, name: str, num_layers: int) -> int:
        """Returns the learning-rate layer of a parameter, from 0 (the stem) to ``num_layers``.

        The blocks are distributed evenly by depth. For ConvNeXt-T with 6 layers, and for the larger ones with 12, this
        is the authors' rule: three blocks per layer.
        """
        return min(math.ceil(self.groups[name] * num_layers / self.ends[-1]), num_layers)
