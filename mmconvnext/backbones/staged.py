"""What ConvNeXt and the networks on the road to it share: frozen stages, and layers of the learning rate."""

from collections.abc import Iterator, Sequence

from torch import nn

from mmconvnext.backbones.contract import DenseBackbone
from mmconvnext.backbones.sizes import Arch


class StagedBackbone(DenseBackbone):
    """What networks built like ConvNeXt share: which layers are frozen, and which learning rate each has.

    The stem is ``downsample_layers.0``, what lies between the stages ``downsample_layers.1`` to ``.3``, the blocks are
    ``stages.i.j``, and the norm of each output is ``norm{i}``. The layers for learning-rate decay are those of the
    authors' detection (``layer_wise``) and segmentation (``stage_wise``) code, released with arXiv 2201.03545. What
    they fine-tune the small sizes of ConvNeXt V2 with is ``single`` (optim_factory.py, released with arXiv 2301.00808):
    each block is a layer, with the downsampling layer before it, and the stem is in that of the first block.

    Attributes:
        arch (Arch): Depth and width of each of the four stages.
        frozen_stages (int): -1 freezes nothing, 0 the stem, n the stem and the first n stages.
    """

    arch: Arch
    frozen_stages: int
    downsample_layers: nn.ModuleList
    stages: nn.ModuleList

    def train(self, mode: bool = True) -> 'StagedBackbone':
        """Sets the training mode, except in frozen parts, which stay in eval mode."""
        super().train(mode)
        for module in self.frozen():
            module.eval()
        return self

    def frozen(self) -> Iterator[nn.Module]:
        """Yields the parts that ``frozen_stages`` freezes."""
        if self.frozen_stages >= 0:
            yield self.downsample_layers[0]
        for i in range(self.frozen_stages):
            yield self.downsample_layers[i]
            yield self.stages[i]
            if hasattr(self, f'norm{i}'):  # not where a subclass has none
                yield getattr(self, f'norm{i}')

    def num_layers(self, decay_type: str) -> int:
        """See :func:`derive_num_layers`; with ``single`` the number of blocks."""
        return sum(self.arch.depths) if decay_type == 'single' else derive_num_layers(self.arch.depths)

    def layer_of(self, name: str, decay_type: str) -> int:
        """Layer of a parameter such as ``stages.2.5.pwconv1.weight``; the output norms' is N + 1."""
        num_layers = self.num_layers(decay_type)
        part, *rest = name.split('.')
        if part not in ('downsample_layers', 'stages'):
            return num_layers + 1  # norms of outputs are as fresh as the head
        stage = int(rest[0])
        if decay_type == 'single':
            block = int(rest[1]) if part == 'stages' else 0
            return sum(self.arch.depths[:stage]) + block + 1
        if decay_type == 'stage_wise':
            return 0 if part == 'downsample_layers' else stage + 1
        if part == 'downsample_layers':
            return (0, 2, 3, num_layers)[stage]
        if stage == 2:
            return 3 + int(rest[1]) // 3
        return num_layers if stage == 3 else stage + 1


def derive_num_layers(depths: Sequence[int]) -> int:
    """Returns the number of learning-rate layers N of a ConvNeXt, its head not counted.

    One for each of stages 0 and 1, one for each three blocks of stage 2 (the downsampling layer before it joins the
    first three), one for stage 3: 6 for tiny, 12 for small to huge. The stem is layer 0 and the head is N + 1.

    Args:
        depths: Number of blocks of the four stages.
    """
    return 3 + -(-depths[2] // 3)
