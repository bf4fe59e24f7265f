"""What the rest of the package asks of a backbone, whichever network it is."""

from abc import abstractmethod

from mmengine.model import BaseModule


class DenseBackbone(BaseModule):
    """A backbone for detection and segmentation: maps of several resolutions, and layers for learning-rate decay.

    The configs' neck and heads get their channels and strides from its attributes. It is built on the meta device for
    that, without its ``init_cfg``.

    Attributes:
        out_indices (tuple[int, ...]): Which of its stages it returns, in ascending order.
        out_channels (tuple[int, ...]): Channels of each output.
        out_strides (tuple[int, ...]): Input pixels per output pixel, of each output.
    """

    out_indices: tuple[int, ...]
    out_channels: tuple[int, ...]
    out_strides: tuple[int, ...]

    @abstractmethod
    def num_layers(self, decay_type: str) -> int:
        """Number of layers N that learning-rate decay counts, neither the stem, which is layer 0, nor the head.

        Args:
            decay_type: ``layer_wise``, ``stage_wise`` or ``single``.
        """

    @abstractmethod
    def layer_of(self, name: str, decay_type: str) -> int:
        """Layer of a parameter, from 0 (the stem) to N + 1 (like the head: not decayed).

        Args:
            name: Its name within the backbone.
            decay_type: ``layer_wise``, ``stage_wise`` or ``single``.
        """

    def no_weight_decay(self) -> set[str]:
        """Names of parameters without weight decay, beside the vectors and biases, which never have it."""
        return set()

    def own_name(self, name: str) -> str:
        """This backbone's name of a tensor that checkpoints of the same network call ``name``. By default the same."""
        return name
