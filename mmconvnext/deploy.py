"""A backbone for inference only, with constants folded into its weights and the weights packed for the CPU.

It takes the backbone's place in the model: ``model.backbone = deploy(model.backbone)``.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmconvnext.backbones import arguments
from mmconvnext.backbones.convnext import Block, ConvNeXt, Stage
from mmconvnext.backbones.unmodified import is_hooked
from mmconvnext.errors import UserError
from mmconvnext.kernels import dispatch

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def deploy(backbone: nn.Module, dtype: torch.dtype | None = None) -> 'DeployedConvNeXt':
    """Returns a copy of a ConvNeXt for inference, to put in its place.

    LayerNorm's weight and bias are folded into the first linear layer of each block, layer scale and GRN's bias into
    the second, all exactly; stochastic depth is off. The copy is a snapshot: it does not change with ``backbone``.

    Args:
        backbone: The backbone, which stays as it is.
        dtype: What everything before the output norms computes in, such as ``torch.bfloat16``. None is the dtype of the
            backbone's parameters. The output norms and the outputs keep that dtype in any case.

    Raises:
        UserError: If ``backbone`` is not a ConvNeXt; if something was replaced in it or hooked that the deployed form
            would skip; or if ``dtype`` is not float64, float32, bfloat16, float16 or None.
    """
    if not isinstance(backbone, ConvNeXt) or type(backbone).forward is not ConvNeXt.forward:
        raise UserError(
            f'deploy() takes a ConvNeXt, not {type(backbone).__name__}, whose forward it does not know.',
            type=type(backbone),
        )
    if dtype not in (None, *DTYPES):
        raise UserError(
            f'deploy: dtype={dtype!r} must be torch.bfloat16, float16, float32 or float64, or None.', dtype=dtype
        )
    for name, module in backbone.named_modules():
        if not _can_be_deployed(name, module):
            raise UserError(
                f'deploy: {name or "the backbone"} was replaced or patched, or has a hook, which the deployed form '
                'would skip. Remove it before deploy().',
                module=name,
            )
    return DeployedConvNeXt(backbone, dtype)


def _can_be_deployed(name: str, module: nn.Module) -> bool:
    # Downsampling layers and output norms are copied and called as they are, so they may be replaced ones
    parts = name.split('.')
    if parts[0] != 'stages':
        return not is_hooked(module) or parts[0].startswith('norm')
    if len(parts) == 2:
        return type(module) is Stage and not is_hooked(module)
    if len(parts) == 3:
        return type(module) is Block and not is_hooked(module) and module.kernel_tensors() is not None
    return True  # checked with its block


class DeployedConvNeXt(nn.Module):
    """What :func:`deploy` returns. Outputs are those of the backbone to rounding, and carry no gradient.

    On the CPU its weights are packed at the first forward. Under autocast, a compiler, exporter, tracer or transform,
    and on other devices, it runs layer by layer with the folded weights. It can be copied, pickled and moved.

    Attributes:
        out_channels (tuple[int, ...]): Channels of each output.
        out_indices (tuple[int, ...]): Stage of each output.
        out_strides (tuple[int, ...]): Input pixels per output pixel, of each output.
    """

    def __init__(self, backbone: ConvNeXt, dtype: torch.dtype | None) -> None:
        super().__init__()
        backbone_dtype = next(backbone.parameters()).dtype
        self.mixed = dtype not in (None, backbone_dtype)  # output norms and outputs keep the backbone's dtype
        self.in_channels = backbone.in_channels
        self.out_channels = backbone.out_channels
        self.out_indices = backbone.out_indices
        self.out_strides = backbone.out_strides
        self.downsample_layers = copy.deepcopy(backbone.downsample_layers).to(dtype)
        self.stages = nn.ModuleList(
            nn.Sequential(*(_FoldedBlock(block, dtype or backbone_dtype) for block in stage.children()))
            for stage in backbone.stages
        )
        for i in self.out_indices:
            self.add_module(f'norm{i}', copy.deepcopy(getattr(backbone, f'norm{i}')))
        self.requires_grad_(False)
        self.eval()

    @torch.no_grad()
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Returns a feature map (B, C_i, H_i, W_i) for each of ``out_indices``, as the backbone does.

        Raises:
            UserError: If ``x`` is not (B, in_channels, H, W), or too small to reach the last stage.
        """
        arguments.check_input(x, self.in_channels, self.out_indices[-1])
        input_dtype = x.dtype
        if self.mixed:
            x = x.to(next(self.stages.parameters()).dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        outs = []
        for i, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            x = stage(downsample(x))
            if i in self.out_indices:
                outs.append(getattr(self, f'norm{i}')(x.to(input_dtype) if self.mixed else x))
        return tuple(outs)

    def train(self, mode: bool = True) -> 'DeployedConvNeXt':
        """Sets eval mode; training mode raises a UserError."""
        if mode:
            raise UserError(
                'a deployed backbone cannot be trained: its weights are folded, and its outputs carry no gradient. '
                'Keep the original backbone, and put it back before training.'
            )
        return super().train(False)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        raise UserError(
            'a deployed backbone cannot load weights, because its own are folded. Load them into the original '
            'backbone, then call deploy() again.'
        )


class _FoldedBlock(Block):
    """A block with constants folded into its parameters, and with weights that are packed once.

    Args:
        block: The block to fold.
        dtype: What to compute in.
    """

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)  # Block's would build layers; these are the copied block's
        block = copy.deepcopy(block)
        block.to(torch.promote_types(block.pwconv1.weight.dtype, torch.float32))  # rounded once, after folding
        t = block.kernel_tensors()
        assert t is not None, 'deploy() has checked the block'
        for name, layer in block.named_children():
            self.add_module(name, layer)
        self.gamma = None
        self.drop_path.rate = 0.0
        with torch.no_grad():
            w1, b1 = t.norm_in_first_linear()
            w2, b2 = t.w2, t.grn_in_second_bias()
            if t.layer_scale is not None:
                w2, b2 = w2 * t.layer_scale[:, None], b2 * t.layer_scale
            for parameter, folded in zip((t.w1, t.b1, t.w2, t.b2), (w1, b1, w2, b2)):
                parameter.copy_(folded)
            t.norm_weight.fill_(1)
            t.norm_bias.zero_()
            if t.grn_beta is not None:
                t.grn_beta.zero_()
        grn_gamma = None if t.grn_gamma is None else t.grn_gamma.detach()
        self.to(dtype)
        if grn_gamma is not None:  # not rounded, since GRN computes its factor in float32
            self.grn.gamma = nn.Parameter(grn_gamma)
        self.packed: Callable[[Tensor], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Computes (B, C, H, W) from (B, C, H, W)."""
        t = self.kernel_tensors() if dispatch.can_run_packed(x) else None
        if t is None:
            return self.layer_by_layer(x)
        if self.packed is None:
            self.packed = dispatch.pack(t)
        return self.packed(x)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self.packed = None  # moved or converted parameters are packed again
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, 'packed': None}  # packed weights can be neither copied nor pickled
