"""The one table of the steps from ResNet to ConvNeXt, with what was published for each.

Source: A ConvNet for the 2020s, arXiv 2201.03545, section 2, figure 2, and tables 10 and 11 of its appendix. The
layouts are those of the code that the authors gave to their reviewers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from mmconvnext.errors import UserError

# The paper walks the road twice: from ResNet-50 to ConvNeXt-T, and from ResNet-200 to ConvNeXt-B
REGIMES = ('resnet50', 'resnet200')


@dataclass(frozen=True)
class Design:
    """A network between ResNet and ConvNeXt.

    Args:
        depths: Number of blocks of each stage.
        width: Channels of the spatial convolution in the blocks of the first stage; in an inverted block, channels of
            its output. Each later stage has twice as many.
        patchify_stem: Whether a 4x4 convolution of stride 4 replaces ResNet's 7x7 convolution and max pooling.
        depthwise: Whether the spatial convolution has a group for each channel.
        layout: The order of a block's convolutions. ``bottleneck``: 1x1, spatial, 1x1 to four times the channels.
            ``inverted``: 1x1 to four times the channels, spatial, 1x1. ``spatial_first``: spatial, 1x1 to four times
            the channels, 1x1.
        kernel_size: Kernel size of the spatial convolution.
        activation: ``relu`` or ``gelu``.
        fewer_activations: Whether a block has only the activation between its two 1x1 convolutions.
        fewer_norms: Whether a block has only the norm after its spatial convolution.
        norm: ``batch`` or ``layer``.
        is_convnext: Whether the network is ConvNeXt. It has separate downsampling layers between the stages, norms in
            these and after the stem, and layer scale.
    """

    depths: tuple[int, ...]
    width: int
    patchify_stem: bool = False
    depthwise: bool = False
    layout: Literal['bottleneck', 'inverted', 'spatial_first'] = 'bottleneck'
    kernel_size: int = 3
    activation: Literal['relu', 'gelu'] = 'relu'
    fewer_activations: bool = False
    fewer_norms: bool = False
    norm: Literal['batch', 'layer'] = 'batch'
    is_convnext: bool = False

    @property
    def out_widths(self) -> tuple[int, ...]:
        """Channels of each stage's output: four times its width after a bottleneck."""
        expansion = 4 if self.layout == 'bottleneck' else 1
        return tuple(expansion * self.width * 2**i for i in range(len(self.depths)))


class Published(NamedTuple):
    """What the paper reports for a step.

    Args:
        top1: Accuracy on ImageNet-1K in percent: the mean over three seeds. One recipe of 300 epochs trained all steps.
        macs: Multiply-adds of the classifier on 224x224, in billions.
    """

    top1: float
    macs: float


@dataclass(frozen=True)
class Step:
    """One change on the road.

    Args:
        name: Its name in configs.
        label: Its name in the paper's figure 2.
        changes: The settings of :class:`Design` that differ from the step before it. A dictionary has a value for each
            regime.
        resnet50: What was published for the road to ConvNeXt-T.
        resnet200: What was published for the road to ConvNeXt-B.
        is_side_branch: Whether the next step does not start from it.
    """

    name: str
    label: str
    changes: Mapping[str, Any]
    resnet50: Published
    resnet200: Published
    is_side_branch: bool = False

    def published(self, regime: str) -> Published:
        """Returns what was published for one of the two roads."""
        return self.resnet50 if regime == 'resnet50' else self.resnet200


STEPS = (
    Step(
        'resnet',
        'ResNet',
        dict(depths=dict(resnet50=(3, 4, 6, 3), resnet200=(3, 24, 36, 3)), width=64),
        Published(78.82, 4.09),
        Published(81.14, 15.01),
    ),
    Step(
        'stage_ratio',
        'stage ratio',
        # The text has no width of 84; the multiply-adds and the authors' code do
        dict(depths=dict(resnet50=(3, 3, 9, 3), resnet200=(3, 3, 27, 3)), width=dict(resnet50=64, resnet200=84)),
        Published(79.36, 4.53),
        Published(81.33, 14.52),
    ),
    Step('patchify_stem', 'patchify stem', dict(patchify_stem=True), Published(79.51, 4.42), Published(81.59, 14.38)),
    Step('depthwise', 'depth conv', dict(depthwise=True), Published(78.28, 2.35), Published(80.54, 7.23)),
    Step(
        'width',
        'width up',
        dict(width=dict(resnet50=96, resnet200=128)),
        Published(80.50, 5.27),
        Published(81.85, 16.76),
    ),
    Step(
        'inverted_bottleneck',
        'inverting dims',
        dict(layout='inverted'),
        Published(80.64, 4.64),
        Published(82.64, 15.68),
    ),
    Step(
        'depthwise_up',
        'move up depth conv',
        dict(layout='spatial_first'),
        Published(79.92, 4.07),
        Published(82.04, 14.63),
    ),
    Step('kernel_5', 'kernel size 5', dict(kernel_size=5), Published(80.35, 4.10), Published(82.32, 14.70)),
    Step('kernel_7', 'kernel size 7', dict(kernel_size=7), Published(80.57, 4.15), Published(82.30, 14.81)),
    Step('kernel_9', 'kernel size 9', dict(kernel_size=9), Published(80.57, 4.21), Published(82.27, 14.95), True),
    Step('kernel_11', 'kernel size 11', dict(kernel_size=11), Published(80.47, 4.29), Published(82.18, 15.13), True),
    Step('gelu', 'ReLU to GELU', dict(activation='gelu'), Published(80.62, 4.15), Published(82.19, 14.81)),
    Step(
        'fewer_activations',
        'fewer activations',
        dict(fewer_activations=True),
        Published(81.27, 4.15),
        Published(82.71, 14.81),
    ),
    Step('fewer_norms', 'fewer norms', dict(fewer_norms=True), Published(81.41, 4.15), Published(83.17, 14.81)),
    # Table 10 prints 4.46 and 4.49 for the last two. The networks here have 4.15 and 4.46, as in figure 2: 4.2 and 4.5
    Step('layer_norm', 'BN to LN', dict(norm='layer'), Published(81.47, 4.46), Published(83.35, 14.81)),
    Step(
        'convnext',
        'separate downsampling: ConvNeXt',
        dict(is_convnext=True),
        Published(81.97, 4.49),
        Published(83.60, 15.35),
    ),
)
# The paper compares each road with a Swin Transformer, trained by the same recipe
SWIN = dict(resnet50=('Swin-T', Published(81.30, 4.50)), resnet200=('Swin-B', Published(83.50, 15.43)))
NAMES = tuple(step.name for step in STEPS)


def design_of(step: object, regime: object, **sizes: Any) -> Design:
    """Returns the network after a step.

    Args:
        step: A name of :data:`STEPS`.
        regime: ``resnet50`` (to ConvNeXt-T) or ``resnet200`` (to ConvNeXt-B).
        sizes: ``depths`` and ``width`` in place of the road's, unless None.

    Raises:
        UserError: If there is no such step or regime.
    """
    if step not in NAMES:
        raise UserError(f'step={step!r} must be one of {", ".join(NAMES)}.', argument='step', steps=NAMES)
    if regime not in REGIMES:
        raise UserError(
            f'regime={regime!r} must be resnet50 (to ConvNeXt-T) or resnet200 (to ConvNeXt-B).', argument='regime'
        )
    settings: dict[str, Any] = {}
    for taken in STEPS[: NAMES.index(step) + 1]:
        if taken.name == step or not taken.is_side_branch:
            settings |= {k: v[regime] if isinstance(v, Mapping) else v for k, v in taken.changes.items()}
    settings |= {name: size for name, size in sizes.items() if size is not None}
    return Design(**settings)
