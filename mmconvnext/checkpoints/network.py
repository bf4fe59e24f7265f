"""Infers from its tensors which ConvNeXt a network is."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mmconvnext.backbones.sizes import ARCHS, Arch

# Tensors of a block whose first axis is the stage's width
OF_WIDTH = re.compile(r'stages\.(\d+)\.(\d+)\.(?:dwconv|norm|pwconv2)\.(?:weight|bias)')


@dataclass(frozen=True)
class Network:
    """The settings of a ConvNeXt.

    Args:
        arch: Depths and widths of the stages it has, up to four.
        version: 1 or 2.
        layer_scale: Whether its blocks have layer scale.
        in_channels: Channels of its images, or None if the stem is missing.
    """

    arch: Arch
    version: int
    layer_scale: bool
    in_channels: int | None

    @property
    def size(self) -> str | None:
        """The first name in :data:`~mmconvnext.backbones.sizes.ARCHS` with these stages, or None."""
        stages = len(self.arch.depths)
        return next((name for name, arch in ARCHS.items() if first_stages(arch, stages) == self.arch), None)

    def __str__(self) -> str:
        """Its name in messages: ``V1 tiny``."""
        whole = self.size and len(self.arch.depths) == 4
        size = self.size if whole else f'of depths {self.arch.depths} and widths {self.arch.widths}'
        return f'V{self.version} {size}{" without layer scale" if self.version == 1 and not self.layer_scale else ""}'


def first_stages(arch: Arch, stages: int) -> Arch:
    """Returns the first stages of ``arch``."""
    return Arch(arch.depths[:stages], arch.widths[:stages])


def read_network(state: Mapping[str, Tensor]) -> Network:
    """Infers the network from tensors under this package's names.

    Single tensors may be missing or have a wrong shape: the width of a stage is that of most of its tensors.
    """
    depths: Counter[int] = Counter()
    widths: dict[int, Counter[int]] = {}
    for name, tensor in state.items():
        found = OF_WIDTH.fullmatch(name)
        if found and tensor.ndim:
            stage, block = int(found[1]), int(found[2])
            depths[stage] = max(depths[stage], block + 1)
            widths.setdefault(stage, Counter())[tensor.shape[0]] += 1
    stages = range(max(depths, default=-1) + 1)
    stem = state.get('downsample_layers.0.0.weight')
    return Network(
        arch=Arch(
            tuple(depths[i] for i in stages),
            tuple(widths[i].most_common(1)[0][0] if i in widths else 0 for i in stages),
        ),
        version=2 if any('.grn.' in name for name in state) else 1,
        layer_scale=any(re.fullmatch(r'stages\.\d+\.\d+\.gamma', name) for name in state),
        in_channels=stem.shape[1] if stem is not None and stem.ndim == 4 else None,
    )
