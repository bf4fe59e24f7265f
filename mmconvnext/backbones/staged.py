"""Shared by ConvNeXt and the networks on the road to it: frozen stages, and the layers of learning-rate decay."""

from collections.abc import Iterator, Sequence

from torch import nn

from mmconvnext.backbones.contract import DenseBackbone
from mmconvnext.backbones.sizes import Arch


class StagedBackbone(DenseBackbone):
    """The base of networks built like ConvNeXt: which layers are frozen, and which learning rate each has.

    The stem is ``downsample_layers.0``. The layers between the stages are ``downsample_layers.1`` to ``.3``, the blocks
    ``stages.i.j``, and the norms of the outputs ``norm{i}``. The layers for learning-rate decay are those of the
    authors' detection (``layer_wise``) and segmentation (``stage_wise``) code, released with arXiv 2201.03545, and of
    their fine-tuning of small ConvNeXt V2 (``single``; optim_factory.py, released with arXiv 2301.00808). With
    ``single`` each block is a layer. The downsampling layer before a block is in the same layer, and so is the stem.

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
        """Returns the layer of a parameter such as ``stages.2.5.pwconv1.weight``; the output norms' is N + 1."""
        num_layers = self.num_layers(decay_type)
        part, *rest = name.split('.')
        if part not in ('downsample_layers', 'stages'):
            return num_layers + 1  # the output norms are as new as the head
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
    """Returns the number of learning-rate layers N of a ConvNeXt, without its stem (layer 0) and its head (N + 1).

    Stages 0 and 1 are a layer each. In stage 2 every three blocks are a layer; the downsampling layer before the stage
    belongs to the first of them. Stage 3 is one layer. This gives 6 for tiny, and 12 for small to huge.

    Args:
        depths: Number of blocks of the four stages.
    """
    return 3 + -(-depths[2] // 3)
