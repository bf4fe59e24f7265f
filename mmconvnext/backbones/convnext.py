"""ConvNeXt V1 and V2 as a backbone for dense prediction.

Sources: A ConvNet for the 2020s, arXiv 2201.03545, figure 4 (V1); ConvNeXt V2, arXiv 2301.00808, figure 5 (V2).
Parameter names are those of the authors' code, so that their checkpoints fit; GRN's two vectors have shape (4C,)
where the authors' have (1, 1, 1, 4C). Tensors are (B, C, H, W) in channels-last memory throughout.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmconvnext.backbones import arguments
from mmconvnext.backbones.layers import GRN, DropPath, LayerNorm2d
from mmconvnext.backbones.sizes import resolve_arch
from mmconvnext.errors import UserError
from mmconvnext.kernels.choice import check_environment, contexts_of_recomputation, memory, runs_fused, runs_triton
from mmconvnext.kernels.cpu import block as cpu
from mmconvnext.kernels.deploy import Deployed
from mmconvnext.kernels.tensors import BlockTensors
from mmconvnext.kernels.triton import block as triton

EPS = 1e-6  # of every LayerNorm


class Block(nn.Module):
    """One residual block: 7x7 depthwise convolution, LayerNorm, and an MLP of ratio 4 on each pixel.

    Input and output are (B, C, H, W).

    Args:
        channels: C.
        drop_path_rate: Stochastic depth of this block.
        layer_scale_init_value: What each entry of layer scale starts from; 0 builds none.
        use_grn: Whether global response normalization follows the activation, as in V2.
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
        """Adds the branch's output to (B, C, H, W)."""
        if runs_fused(self, x):  # the same, faster
            return cpu.block(x, BlockTensors.of(self), self.drop_path.sample_scales(x), memory())
        if runs_triton(self, x):  # likewise, on a GPU
            return triton.block(x, BlockTensors.of(self), self.drop_path.sample_scales(x), memory())
        shortcut = x
        x = self.dwconv(x)
        x = x.permute(0, 2, 3, 1)  # (B, C, H, W) -> (B, H, W, C)
        x = self.norm(x)
        x = F.gelu(self.pwconv1(x))
        x = self.pwconv2(self.grn(x))
        if self.gamma is not None:
            x = self.gamma * x
        x = x.permute(0, 3, 1, 2)  # (B, H, W, C) -> (B, C, H, W)
        return shortcut + self.drop_path(x)


class Stage(nn.Sequential):
    """The blocks of one resolution.

    Args:
        blocks: The blocks, first to last.
        with_cp: Whether to compute each block again in the backward pass instead of storing its activations.
    """

    def __init__(self, blocks: Iterable[Block], with_cp: bool) -> None:
        super().__init__(*blocks)
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> Tensor:
        """Runs (B, C, H, W) through the blocks."""
        if not (self.with_cp and torch.is_grad_enabled()):
            return super().forward(x)
        for block in self:
            if torch.compiler.is_compiling():  # it takes no context, and has chosen how to compute when it traces
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = checkpoint(block, x, use_reentrant=False, context_fn=contexts_of_recomputation)
        return x


@MODELS.register_module()
class ConvNeXt(BaseModule):
    """ConvNeXt V1 or V2 with several stage outputs, each through a LayerNorm of its own.

    Args:
        arch: A size name of :data:`~mmconvnext.backbones.sizes.ARCHS`, for either version, or
            ``dict(depths=..., widths=...)`` with four integers each.
        version: 1 (layer scale) or 2 (global response normalization).
        in_channels: Channels of the input image.
        out_indices: Which of the stages 0 to 3 to return; negative ones count from the last. Returned in ascending
            order. Stages past the last one wanted are not built.
        drop_path_rate: Stochastic depth of the last block of stage 3; it grows linearly from 0 at the first block.
        layer_scale_init_value: What V1's layer scale starts from; ``None`` is the paper's 1e-6 and 0 builds none.
            The authors fine-tune detectors and segmentors with 1.0. V2 has none.
        frozen_stages: What does not train: -1 nothing, 0 the stem, n the stem and the first n stages with their
            downsampling layers and output norms. Frozen parts stay in eval mode, so their stochastic depth is off.
        with_cp: Recomputes each block in the backward pass instead of storing its activations.
        init_cfg: MMEngine's initialization, such as ``dict(type='ConvNeXtPretrained', checkpoint=...)``; the plain
            ``Pretrained`` is the same.

    Attributes:
        out_channels (tuple[int, ...]): Channels of each output.
        out_strides (tuple[int, ...]): Input pixels per output pixel, of each output.

    Raises:
        UserError: If an argument is unknown or out of range; the message lists what is allowed.

    Shapes:
        Input (B, in_channels, H, W), H and W at least the stride of the last stage built (32 for all four). Outputs:
        for each index i (B, widths[i], H // 4 // 2**i, W // 4 // 2**i), in the input's dtype. Sizes that are not
        multiples of 32 lose the remainder at the right and bottom, as in the authors' code.
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
        check_environment()
        arguments.refuse_unknown(unknown, version)
        if unknown:
            arguments.refuse_frozen_stages_of_mmpretrain(frozen_stages)
        super().__init__(init_cfg=arguments.resolve_init_cfg(init_cfg))
        self.arch = resolve_arch(arch)
        self.version = arguments.resolve_version(version)
        self.in_channels = arguments.resolve_in_channels(in_channels)
        self.out_indices = arguments.resolve_out_indices(out_indices, len(self.arch.depths))
        self.frozen_stages = arguments.resolve_frozen_stages(frozen_stages, self.out_indices)
        self.with_cp = arguments.resolve_with_cp(with_cp)
        drop_path_rate = arguments.resolve_drop_path_rate(drop_path_rate)
        layer_scale_init_value = arguments.resolve_layer_scale(layer_scale_init_value, self.version)

        depths, widths = self.arch.depths, self.arch.widths
        num_stages = self.out_indices[-1] + 1
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

        # The rates run over all blocks of the paper's network, also those of stages that are not built
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device='cpu').tolist())
        self.stages = nn.ModuleList()
        for depth, width in zip(depths[:num_stages], widths):
            blocks = [Block(width, next(rates), layer_scale_init_value, self.version == 2) for _ in range(depth)]
            self.stages.append(Stage(blocks, self.with_cp))
        for i in self.out_indices:
            self.add_module(f'norm{i}', LayerNorm2d(widths[i], eps=EPS))

        self.apply(_init_like_the_paper)
        for module in self._frozen():
            module.requires_grad_(False)
        # Gradients come in this layout, and DDP warns where parameters have another. FSDP wants contiguous ones: there
        # to(memory_format=torch.contiguous_format) puts them back
        self.to(memory_format=torch.channels_last)
        self._deployed: Deployed | None = None

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Returns one (B, C_i, H_i, W_i) map for each of ``out_indices``.

        Raises:
            UserError: If ``x`` is not (B, in_channels, H, W), or too small to reach the last stage.
        """
        arguments.check_input(x, self.in_channels, self.out_indices[-1])
        if self._deployed is not None and self._deployed.can_run(x):
            return self._deployed(x)
        x = x.contiguous(memory_format=torch.channels_last)
        outs = []
        for i, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            x = stage(downsample(x))
            if i in self.out_indices:
                outs.append(getattr(self, f'norm{i}')(x))
        return tuple(outs)

    def train(self, mode: bool = True) -> 'ConvNeXt':
        """Sets the training mode, except in frozen parts, which stay in eval mode."""
        if mode:
            self._deployed = None
        super().train(mode)
        for module in self._frozen():
            module.eval()
        return self

    def switch_to_deploy(self, dtype: torch.dtype | None = None) -> 'ConvNeXt':
        """Prepares for faster inference: folds LayerNorm's affine and layer scale into weights, and packs those.

        The parameters themselves stay as they are, and so does what ``state_dict`` gives; when they change, they are
        folded and packed again; but call this again after a change through ``.data``, under inference mode, or of a
        downsampling layer's settings, of which nobody keeps count. ``train()`` undoes the switch, and copies do not
        have it. Outputs carry no gradient. Under autocast, a compiler or a tracer, and where something was replaced or
        hooked since, the layers run as they are.

        Args:
            dtype: What everything before the output norms computes in, such as ``torch.bfloat16``; None is the
                parameters' own.

        Returns:
            The backbone itself, in eval mode.

        Raises:
            UserError: If a block, or a layer of one, was replaced or hooked, or a downsampling layer hooked, since
                that would be passed by; or if ``dtype`` is none of float64, float32, bfloat16 and float16.
        """
        if dtype not in (None, torch.float64, torch.float32, torch.bfloat16, torch.float16):
            raise UserError(
                f'switch_to_deploy: dtype={dtype!r} must be torch.bfloat16, float16, float32 or float64, or None.'
            )
        for name, stage in self.stages.named_children():
            if type(stage) is not Stage or any(type(block) is not Block for block in stage):
                raise UserError(f'switch_to_deploy: stages.{name} has something else than the blocks it was built of.')
        self.eval()
        self._deployed = Deployed(self, dtype)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what :meth:`switch_to_deploy` made, since packed weights can neither be copied nor pickled."""
        return {**self.__dict__, '_deployed': None}

    def _frozen(self) -> Iterator[nn.Module]:
        if self.frozen_stages >= 0:
            yield self.downsample_layers[0]
        for i in range(self.frozen_stages):
            yield self.downsample_layers[i]
            yield self.stages[i]
            if i in self.out_indices:
                yield getattr(self, f'norm{i}')


def _init_like_the_paper(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
