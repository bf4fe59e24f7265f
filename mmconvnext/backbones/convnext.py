"""ConvNeXt V1 and V2 as a backbone for dense prediction.

Sources: A ConvNet for the 2020s, arXiv 2201.03545, figure 4 (V1); ConvNeXt V2, arXiv 2301.00808, figure 5 (V2).
Parameter names are those of the authors' code, so their checkpoints fit; only GRN's two vectors have shape (4C,), where
the authors' have (1, 1, 1, 4C). Tensors are (B, C, H, W) in channels-last memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from mmconvnext.backbones import arguments
from mmconvnext.backbones.layers import GRN, DropPath, LayerNorm2d
from mmconvnext.backbones.sizes import resolve_arch
from mmconvnext.backbones.staged import StagedBackbone
from mmconvnext.backbones.unmodified import tensors_if_unmodified
from mmconvnext.errors import UserError
from mmconvnext.kernels import dispatch

EPS = 1e-6  # of every LayerNorm


class Block(nn.Module):
    """One residual block: 7x7 depthwise convolution, LayerNorm, and an MLP of ratio 4 on each pixel.

    V1 is figure 4 of the first paper, with layer scale; V2 is figure 5 of the second, with GRN in its place.

    Args:
        channels: C.
        drop_path_rate: Stochastic depth of this block.
        layer_scale_init_value: Initial value of layer scale; 0 builds none.
        use_grn: Whether to build GRN.
    """

    def __init__(self, channels: int, drop_path_rate: float, layer_scale_init_value: float, use_grn: bool) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, kernel_size=7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = GRN(4 * channels) if use_grn else nn.Identity()
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = (
            nn.Parameter(torch.full((channels,), float(layer_scale_init_value))) if layer_scale_init_value > 0 else None
        )
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Computes (B, C, H, W) from (B, C, H, W), by a kernel where one has the same numbers in less time."""
        kernel = dispatch.kernel_for(x, self.kernel_tensors)
        if kernel is None:
            return self.layer_by_layer(x)
        return kernel(x, self.drop_path.sample_scales(x))

    def layer_by_layer(self, x: Tensor) -> Tensor:
        """Computes the block as the papers' figures do."""
        shortcut = x
        x = self.dwconv(x)
        x = x.permute(0, 2, 3, 1)  # (B, C, H, W) -> (B, H, W, C)
        x = self.pointwise(x)
        x = x.permute(0, 3, 1, 2)  # (B, H, W, C) -> (B, C, H, W)
        return shortcut + self.drop_path(x)

    def pointwise(self, x: Tensor) -> Tensor:
        """Computes what follows the depthwise convolution, (B, H, W, C) from (B, H, W, C)."""
        x = self.norm(x)
        x = self.pwconv1(x)  # (B, H, W, 4C)
        x = F.gelu(x)
        x = self.grn(x)
        x = self.pwconv2(x)  # (B, H, W, C)
        return x if self.gamma is None else self.gamma * x

    def kernel_tensors(self) -> dispatch.BlockTensors | None:
        """Returns the parameters for a kernel, or None if a layer was replaced or hooked."""
        return tensors_if_unmodified(self)


class Stage(nn.Sequential):
    """The blocks of one resolution.

    Args:
        blocks: The blocks, first to last.
        with_cp: Whether to recompute each block in the backward instead of keeping its activations.
    """

    def __init__(self, blocks: Iterable[nn.Module], with_cp: bool = False) -> None:
        super().__init__(*blocks)
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> Tensor:
        """Runs (B, C, H, W) through the blocks."""
        for block in self:
            x = dispatch.checkpoint(block, x) if self.with_cp and torch.is_grad_enabled() else block(x)
        return x


@MODELS.register_module()
class ConvNeXt(StagedBackbone):
    """ConvNeXt V1 or V2 with an output for each of several stages, each through a LayerNorm of its own.

    Args:
        arch: A size name of :data:`~mmconvnext.backbones.sizes.ARCHS`, for either version, or
            ``dict(depths=..., widths=...)`` with four integers each.
        version: 1 (layer scale) or 2 (global response normalization).
        in_channels: Channels of the input image.
        out_indices: Which of the stages 0 to 3 to return; negative ones count from the last. Outputs are in ascending
            order. Stages after the last of them are not built.
        drop_path_rate: Stochastic depth of the last block of stage 3; it grows linearly from 0 at the first block.
        layer_scale_init_value: Initial value of V1's layer scale; ``None`` is the paper's 1e-6, and 0 builds none. The
            authors fine-tune detectors and segmentors with 1.0. V2 has none.
        frozen_stages: Which parameters to freeze: -1 none, 0 the stem's, n those of the stem and of the first n stages
            with their downsampling layers and output norms. Frozen parts stay in eval mode, without stochastic depth.
        with_cp: Whether to recompute each block in the backward instead of keeping its activations.
        init_cfg: MMEngine's initialization, such as ``dict(type='ConvNeXtPretrained', checkpoint=...)``. The plain
            ``Pretrained`` is the same.

    Attributes:
        out_channels (tuple[int, ...]): Channels of each output.
        out_strides (tuple[int, ...]): Input pixels per output pixel, of each output.

    Raises:
        UserError: If an argument is unknown or out of range; the message lists what is allowed.

    Shapes:
        Input (B, in_channels, H, W), H and W at least the stride of the last stage built (32 for all four). Outputs:
        for each index i (B, widths[i], H // 4 // 2**i, W // 4 // 2**i), in the input's dtype. If a size is not a
        multiple of 32, the remainder at the right and bottom is cut off, as in the authors' code.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Sequence[int]] = 'tiny',
        version: int = 1,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float | None = None,
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
        **unknown: Any,
    ) -> None:
        dispatch.check_environment()
        arguments.check_unknown(unknown, version, frozen_stages)
        super().__init__(init_cfg=arguments.initializers(init_cfg))
        self.arch = resolve_arch(arch)
        depths, widths = self.arch.depths, self.arch.widths
        self.version = arguments.checked('version', version, [int], (1, 2).__contains__, '1 (layer scale) or 2 (GRN)')
        self.in_channels = arguments.checked('in_channels', in_channels, [int], lambda n: n > 0, 'a positive integer')
        self.out_indices = arguments.stages(out_indices, len(depths))
        num_stages = self.out_indices[-1] + 1
        self.frozen_stages = arguments.frozen_stages(frozen_stages, self.out_indices)
        self.with_cp = arguments.checked('with_cp', with_cp, [bool], lambda _: True, 'True or False')
        drop_path_rate = arguments.drop_path_rate(drop_path_rate)
        layer_scale_init_value = arguments.layer_scale(layer_scale_init_value, self.version)

        self.out_channels = tuple(widths[i] for i in self.out_indices)
        self.out_strides = tuple(4 * 2**i for i in self.out_indices)

        # Figure 4: a 4x4 stem, and a 2x2 downsampling layer before each later stage
        stem = nn.Sequential(
            nn.Conv2d(self.in_channels, widths[0], kernel_size=4, stride=4), LayerNorm2d(widths[0], eps=EPS)
        )
        self.downsample_layers = nn.ModuleList([stem])
        for i in range(1, num_stages):
            self.downsample_layers.append(
                nn.Sequential(
                    LayerNorm2d(widths[i - 1], eps=EPS),
                    nn.Conv2d(widths[i - 1], widths[i], kernel_size=2, stride=2),
                )
            )

        # The rates go over all blocks of the paper's network, also of stages that are not built
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device='cpu').tolist())
        self.stages = nn.ModuleList()
        for depth, width in zip(depths[:num_stages], widths):
            blocks = [Block(width, next(rates), layer_scale_init_value, self.version == 2) for _ in range(depth)]
            self.stages.append(Stage(blocks, self.with_cp))
        for i in self.out_indices:
            self.add_module(f'norm{i}', LayerNorm2d(widths[i], eps=EPS))

        self.apply(_init_like_the_paper)
        for module in self.frozen():
            module.requires_grad_(False)
        # Gradients are channels-last, and DDP warns where parameters are not. FSDP wants contiguous parameters, which
        # to(memory_format=torch.contiguous_format) restores
        self.to(memory_format=torch.channels_last)

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

    def switch_to_deploy(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises a UserError: :func:`mmconvnext.deploy.deploy` has replaced this method."""
        raise UserError(
            'ConvNeXt.switch_to_deploy() was replaced by a function that returns a module of its own: write '
            '`from mmconvnext.deploy import deploy` and `model.backbone = deploy(model.backbone)`.',
            replacement='mmconvnext.deploy.deploy',
        )


def _init_like_the_paper(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
