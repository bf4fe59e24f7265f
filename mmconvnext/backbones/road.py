"""Every network on the paper's road from ResNet to ConvNeXt, as a backbone.

Source: A ConvNet for the 2020s, arXiv 2201.03545, section 2. What a step changes is in the table of
:mod:`mmconvnext.backbones.road_steps`. Tensors are (B, C, H, W) in channels-last memory.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmconvnext.backbones import arguments
from mmconvnext.backbones.convnext import EPS, ConvNeXt, Stage
from mmconvnext.backbones.layers import DropPath, LayerNorm2d
from mmconvnext.backbones.road_steps import Design, design_of
from mmconvnext.backbones.sizes import Arch, one_per_stage
from mmconvnext.backbones.staged import StagedBackbone
from mmconvnext.errors import UserError

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {'relu': lambda: nn.ReLU(inplace=True), 'gelu': nn.GELU}
BATCH_NORMS: dict[str, type[nn.Module]] = {'BN': nn.BatchNorm2d, 'SyncBN': nn.SyncBatchNorm}
ARGUMENTS = (
    'step, regime, depths, width, in_channels, out_indices, drop_path_rate, layer_scale_init_value, frozen_stages, '
    'norm_cfg, norm_eval, init_cfg'
)
# torchvision's names of the parts of a ResNet, and ours
OF_TORCHVISION: dict[str, str | Callable[[re.Match[str]], str]] = {
    r'^conv1\.': 'downsample_layers.0.0.',
    r'^bn1\.': 'downsample_layers.0.1.',
    r'^layer([1-4])\.(\d+)\.': lambda found: f'stages.{int(found[1]) - 1}.{found[2]}.',
    r'(?<=\.)bn([123])\.': r'norm\1.',
    r'(?<=\.)downsample\.': 'shortcut.',
}


class RoadBlock(nn.Module):
    """One residual block of any step before the last: three convolutions, with norms and activations between.

    Args:
        design: The network's design, which says which of them there are.
        in_channels: Channels of the input.
        width: The stage's width; see :class:`~mmconvnext.backbones.road_steps.Design`.
        stride: 2 in the first block of a later stage, else 1. The spatial convolution has it.
        drop_path_rate: Stochastic depth of this block.
        norm: Builds a norm for a number of channels.
    """

    def __init__(
        self,
        design: Design,
        in_channels: int,
        width: int,
        stride: int,
        drop_path_rate: float,
        norm: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        # A bias before BatchNorm has no effect, and the authors add none where they remove the norm
        bias = design.norm == 'layer'

        def spatial(channels: int) -> nn.Conv2d:
            groups = channels if design.depthwise else 1
            size = design.kernel_size
            return nn.Conv2d(channels, channels, size, stride, padding=size // 2, groups=groups, bias=bias)

        def pointwise(channels: int, out_channels: int) -> nn.Conv2d:
            return nn.Conv2d(channels, out_channels, 1, bias=bias)

        wide = 4 * width
        if design.layout == 'bottleneck':
            convs = [pointwise(in_channels, width), spatial(width), pointwise(width, wide)]
        elif design.layout == 'inverted':
            convs = [pointwise(in_channels, wide), spatial(wide), pointwise(wide, width)]
        else:
            convs = [spatial(in_channels), pointwise(in_channels, wide), pointwise(wide, width)]
        self.conv1, self.conv2, self.conv3 = convs
        out_channels = convs[-1].out_channels

        activation = ACTIVATIONS[design.activation]
        norms = [
            nn.Identity() if design.fewer_norms and conv.kernel_size == (1, 1) else norm(conv.out_channels)
            for conv in convs
        ]
        self.norm1, self.norm2, self.norm3 = norms
        self.act1 = nn.Identity() if design.fewer_activations else activation()
        self.act2 = activation()
        self.act3 = nn.Identity() if design.fewer_activations else activation()
        self.drop_path = DropPath(drop_path_rate)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), norm(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Computes (B, C_out, H / stride, W / stride), rounded up, from (B, C_in, H, W)."""
        shortcut = self.shortcut(x)
        x = self.act1(self.norm1(self.conv1(x)))
        x = self.act2(self.norm2(self.conv2(x)))
        x = self.norm3(self.conv3(x))
        return self.act3(shortcut + self.drop_path(x))


@MODELS.register_module()
class ConvNeXtRoad(StagedBackbone):
    """The network after one step of the road from ResNet to ConvNeXt, each output through a LayerNorm of its own.

    The first step is ResNet as torchvision has it, and the last one consists of
    :class:`~mmconvnext.backbones.convnext.ConvNeXt`'s own layers.

    Args:
        step: A name of :data:`~mmconvnext.backbones.road_steps.STEPS`.
        regime: Which of the paper's two roads: ``resnet50`` (to ConvNeXt-T) or ``resnet200`` (to ConvNeXt-B).
        depths: Blocks of each of the four stages, in place of the road's.
        width: Width of the first stage, in place of the road's; see :class:`~mmconvnext.backbones.road_steps.Design`.
        in_channels: Channels of the input image.
        out_indices: Which of the stages 0 to 3 to return, as in ConvNeXt. Stages after the last are not built.
        drop_path_rate: Stochastic depth of the last block of stage 3; it grows linearly from 0 at the first block.
        layer_scale_init_value: Initial value of the last step's layer scale, as in ConvNeXt. The others have none.
        frozen_stages: Which parameters to freeze, as in ConvNeXt: -1 none, 0 the stem's, n those of the stem and of the
            first n stages with their output norms. Frozen parts stay in eval mode.
        norm_cfg: ``dict(type='BN')`` or ``dict(type='SyncBN')``, for the steps with batch normalization.
        norm_eval: Whether batch normalization uses its running statistics in training too, without updating them. This
            needs trained weights.
        init_cfg: MMEngine's initialization, such as ``dict(type='ConvNeXtPretrained', checkpoint=...)``.

    Raises:
        UserError: If an argument is unknown or out of range; the message lists what is allowed.

    Shapes:
        Input (B, in_channels, H, W), H and W at least the stride of the last stage built. Outputs: for each index i
        (B, arch.widths[i], H / 4 / 2**i, W / 4 / 2**i). Where this is not a whole number, stem and stages round as
        their convolutions do: ResNet's round up, the patchify stem and ConvNeXt's downsampling layers round down.
    """

    def __init__(
        self,
        step: str = 'convnext',
        regime: str = 'resnet50',
        depths: Sequence[int] | None = None,
        width: int | None = None,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float | None = None,
        frozen_stages: int = -1,
        norm_cfg: Mapping[str, Any] | None = None,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            name = next(iter(unknown))
            raise UserError(f'ConvNeXtRoad has no argument {name!r}. Its arguments are {ARGUMENTS}.', argument=name)
        super().__init__(init_cfg=arguments.initializers(init_cfg))
        if depths is not None:
            depths = one_per_stage('depths', depths)
        if width is not None:
            width = arguments.checked('width', width, [int], lambda n: n > 0, 'a positive integer')
        self.design = design_of(step, regime, depths=depths, width=width)
        self.arch = Arch(self.design.depths, self.design.out_widths)
        self.in_channels = arguments.checked('in_channels', in_channels, [int], lambda n: n > 0, 'a positive integer')
        self.out_indices = arguments.stages(out_indices, len(self.arch.depths))
        self.frozen_stages = arguments.frozen_stages(frozen_stages, self.out_indices)
        self.norm_eval = arguments.checked('norm_eval', norm_eval, [bool], lambda _: True, 'True or False')
        drop_path_rate = arguments.drop_path_rate(drop_path_rate)
        layer_scale_init_value = arguments.layer_scale(layer_scale_init_value, version=1)
        batch_norm = _batch_norm(norm_cfg)
        self.out_channels = tuple(self.arch.widths[i] for i in self.out_indices)
        self.out_strides = tuple(4 * 2**i for i in self.out_indices)

        if self.design.is_convnext:
            network = ConvNeXt(
                dict(depths=self.arch.depths, widths=self.arch.widths),
                in_channels=self.in_channels,
                out_indices=self.out_indices,
                drop_path_rate=drop_path_rate,
                layer_scale_init_value=layer_scale_init_value,
            )
            for name, layer in network.named_children():
                self.add_module(name, layer)
        else:
            self._build(batch_norm, drop_path_rate)
        for module in self.frozen():
            module.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # see ConvNeXt

    def _build(self, batch_norm: type[nn.Module], drop_path_rate: float) -> None:
        """Builds the layers of a step before the last."""
        design = self.design

        def norm(channels: int) -> nn.Module:
            return LayerNorm2d(channels, eps=EPS) if design.norm == 'layer' else batch_norm(channels)

        num_stages = self.out_indices[-1] + 1
        stem: list[nn.Module] = [
            nn.Conv2d(self.in_channels, design.width, kernel_size=7, stride=2, padding=3, bias=False),
            norm(design.width),
            ACTIVATIONS[design.activation](),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        ]
        if design.patchify_stem:
            stem = [nn.Conv2d(self.in_channels, design.width, kernel_size=4, stride=4)]
        # The first block of each later stage downsamples, so there are no layers between the stages
        between = [nn.Identity() for _ in range(1, num_stages)]
        self.downsample_layers = nn.ModuleList([nn.Sequential(*stem), *between])

        rates = iter(torch.linspace(0, drop_path_rate, sum(design.depths), device='cpu').tolist())
        self.stages = nn.ModuleList()
        channels = design.width
        for i in range(num_stages):
            blocks = []
            for j in range(design.depths[i]):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(RoadBlock(design, channels, design.width * 2**i, stride, next(rates), norm))
                channels = self.arch.widths[i]
            self.stages.append(Stage(blocks))
        for i in self.out_indices:
            self.add_module(f'norm{i}', LayerNorm2d(self.arch.widths[i], eps=EPS))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Returns a feature map (B, C_i, H_i, W_i) for each of ``out_indices``.

        Raises:
            UserError: If ``x`` is not (B, in_channels, H, W), or too small to reach the last stage.
        """
        arguments.check_input(x, self.in_channels, self.out_indices[-1])
        x = x.contiguous(memory_format=torch.channels_last)
        outs = []
        for i, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            x = stage(downsample(x))
            if i in self.out_indices:
                outs.append(getattr(self, f'norm{i}')(x))
        return tuple(outs)

    def train(self, mode: bool = True) -> 'ConvNeXtRoad':
        """Sets the training mode, except in frozen parts and, with ``norm_eval``, in batch normalization."""
        super().train(mode)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
                    module.eval()
        return self

    def own_name(self, name: str) -> str:
        """Returns this backbone's name for a tensor of torchvision's ResNet. Other names stay as they are."""
        for pattern, ours in OF_TORCHVISION.items():
            name = re.sub(pattern, ours, name)
        return name


def _batch_norm(norm_cfg: Mapping[str, Any] | None) -> type[nn.Module]:
    kind = 'BN' if norm_cfg is None else norm_cfg.get('type') if isinstance(norm_cfg, Mapping) else None
    if kind not in BATCH_NORMS or (norm_cfg is not None and set(norm_cfg) != {'type'}):
        raise UserError(
            f"norm_cfg={norm_cfg!r} must be dict(type='BN') or dict(type='SyncBN'), with nothing else; norm_eval and "
            'frozen_stages freeze it.',
            argument='norm_cfg',
        )
    return BATCH_NORMS[kind]
