"""Defines what the rest of the package needs from a backbone, whichever network it is."""

from abc import abstractmethod

from mmengine.model import BaseModule


class DenseBackbone(BaseModule):
    """A backbone for detection and segmentation: maps of several resolutions, and layers for learning-rate decay.

    The configs' neck and heads get their channels and strides from its attributes. For that, the backbone is built on
    the meta device without its ``init_cfg``.

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
        """Returns the number of layers N for learning-rate decay, without the stem, which is layer 0, and the head.

        Args:
            decay_type: ``layer_wise``, ``stage_wise`` or ``single``.
        """

    @abstractmethod
    def layer_of(self, name: str, decay_type: str) -> int:
        """Returns the layer of a parameter, from 0 (the stem) to N + 1 (the rate of the head, without decay).

        Args:
            name: Its name within the backbone.
            decay_type: ``layer_wise``, ``stage_wise`` or ``single``.
        """

    def no_weight_decay(self) -> set[str]:
        """Returns the names of parameters that get no weight decay, besides vectors and biases, which never get any."""
        return set()

    def own_name(self, name: str) -> str:
        """Returns this backbone's name for a tensor that checkpoints of the network call ``name``: here the same."""
        return name
