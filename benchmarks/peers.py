"""The ConvNeXt implementations that a user could take instead, each with our backbone's weights and its four outputs.

Every peer is wrapped in the same way. Its stem, downsampling layers and stages are its own. After each stage comes our
output norm, which peers for classification do not have. So all return the same numbers, which the benchmark checks.
"""

import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import convert

# MMPretrain's language models fail to import under today's transformers, and MMDetection imports MMPretrain where it
# is installed. None of them is needed here
sys.modules.setdefault('mmpretrain.models.multimodal', ModuleType('multimodal'))


@dataclass(frozen=True)
class Peer:
    """An implementation to compare with.

    Args:
        name: Its name in tables.
        build: Builds it from our backbone; raises ImportError if its package is not installed.
        versions: The ConvNeXt versions that it has.
    """

    name: str
    build: Callable[[ConvNeXt], nn.Module]
    versions: tuple[int, ...] = (1, 2)


class Staged(nn.Module):
    """Runs parts one after another and returns each one's output through a norm.

    Args:
        parts: The layers from one output to the next.
        norms: Our backbone's output norms.
        memory_format: The memory format of the input, which is the one that suits the peer best.
    """

    def __init__(
        self,
        parts: Sequence[nn.Module],
        norms: Sequence[nn.Module],
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts).to(memory_format=memory_format)
        self.norms = nn.ModuleList(copy.deepcopy(norm) for norm in norms)
        self.memory_format = memory_format

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Returns four maps of (B, C_i, H_i, W_i)."""
        x = x.contiguous(memory_format=self.memory_format)
        outs = []
        for part, norm in zip(self.parts, self.norms):
            x = part(x)
            outs.append(norm(x))
        return tuple(outs)


class ChannelsFirstNorm(nn.Module):
    """LayerNorm over the channels of (B, C, H, W), written out as in the authors' stem and downsampling layers."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes (B, C, H, W)."""
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class GlobalResponse(nn.Module):
    """GRN of (B, H, W, C) as in ConvNeXt V2's algorithm 1."""

    def __init__(self, grn: nn.Module) -> None:
        super().__init__()
        self.gamma, self.beta = grn.gamma, grn.beta

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes (B, H, W, C)."""
        energy = torch.norm(x, p=2, dim=(1, 2), keepdim=True)
        share = energy / (energy.mean(dim=-1, keepdim=True) + 1e-6)
        return self.gamma * (x * share) + self.beta + x


class PaperBlock(nn.Module):
    """Figure 4 of arXiv 2201.03545, layer by layer on NCHW memory, as the authors run it."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.dwconv, self.norm = block.dwconv, block.norm
        self.pwconv1, self.pwconv2, self.gamma = block.pwconv1, block.pwconv2, block.gamma
        self.grn = GlobalResponse(block.grn) if hasattr(block.grn, 'gamma') else None

    def forward(self, x: Tensor) -> Tensor:
        """Adds the branch's output to (B, C, H, W)."""
        shortcut = x
        x = self.dwconv(x).permute(0, 2, 3, 1)
        x = F.gelu(self.pwconv1(self.norm(x)))
        if self.grn is not None:
            x = self.grn(x)
        x = self.pwconv2(x)
        if self.gamma is not None:
            x = self.gamma * x
        return shortcut + x.permute(0, 3, 1, 2)


def output_norms(ours: ConvNeXt) -> list[nn.Module]:
    """Returns our norms after the stages."""
    return [getattr(ours, f'norm{i}') for i in ours.out_indices]


def authors(ours: ConvNeXt) -> nn.Module:
    """Builds the authors' blocks and channels-first norms."""
    ours = copy.deepcopy(ours)
    parts = []
    for downsample, stage in zip(ours.downsample_layers, ours.stages):
        layers = [ChannelsFirstNorm(m) if isinstance(m, nn.LayerNorm) else m for m in downsample]
        parts.append(nn.Sequential(*layers, *(PaperBlock(block) for block in stage)))
    return Staged(parts, output_norms(ours)).to(memory_format=torch.contiguous_format)


def timm(ours: ConvNeXt, *, conv_mlp: bool = False) -> nn.Module:
    """Builds timm's model in its default form, or, with ``conv_mlp``, as convolutions on channels-last memory."""
    from timm.models.convnext import ConvNeXt as TimmConvNeXt

    options = dict(use_grn=True, ls_init_value=None) if ours.version == 2 else {}
    arch = dict(depths=ours.arch.depths, dims=ours.arch.widths)
    model = TimmConvNeXt(**arch, num_classes=0, conv_mlp=conv_mlp, **options)
    state = convert(ours.state_dict(), 'timm_conv_mlp' if conv_mlp else 'timm').state
    missing = model.load_state_dict(state, strict=False)
    if missing.unexpected_keys or any(not key.startswith('head') for key in missing.missing_keys):
        raise ValueError(f'timm has other parameters than were converted: {missing}')
    parts = [nn.Sequential(model.stem, model.stages[0]), *model.stages[1:]]
    return Staged(parts, output_norms(ours), torch.channels_last if conv_mlp else torch.contiguous_format)


def torchvision(ours: ConvNeXt) -> nn.Module:
    """Builds torchvision's model."""
    from torchvision.models.convnext import CNBlockConfig
    from torchvision.models.convnext import ConvNeXt as TorchvisionConvNeXt

    widths = [*ours.arch.widths, None]
    settings = [CNBlockConfig(widths[i], widths[i + 1], depth) for i, depth in enumerate(ours.arch.depths)]
    model = TorchvisionConvNeXt(settings)
    missing = model.load_state_dict(convert(ours.state_dict(), 'torchvision').state, strict=False)
    if missing.unexpected_keys or any(not key.startswith('classifier') for key in missing.missing_keys):
        raise ValueError(f'torchvision has other parameters than were converted: {missing}')
    return Staged([model.features[2 * i : 2 * i + 2] for i in range(4)], output_norms(ours))


def mmpretrain(ours: ConvNeXt) -> nn.Module:
    """Builds MMPretrain's backbone."""
    from mmpretrain.models.backbones.convnext import ConvNeXt as MMPretrainConvNeXt

    arch = dict(depths=list(ours.arch.depths), channels=list(ours.arch.widths))
    options = dict(use_grn=True, layer_scale_init_value=0.0) if ours.version == 2 else {}
    model = MMPretrainConvNeXt(arch, gap_before_final_norm=False, **options)
    state = convert(ours.state_dict(), 'mmpretrain').state
    state = {name.removeprefix('backbone.'): tensor for name, tensor in state.items()}
    missing = model.load_state_dict(state, strict=False)
    if any('norm' not in key for key in missing.missing_keys):
        raise ValueError(f'MMPretrain has other parameters than were converted: {missing}')
    parts = [nn.Sequential(*pair) for pair in zip(model.downsample_layers, model.stages)]
    return Staged(parts, output_norms(ours))


PEERS = (
    Peer("authors' block", authors),
    Peer('timm', timm),
    Peer('timm, conv_mlp, channels-last', lambda ours: timm(ours, conv_mlp=True)),
    Peer('torchvision', torchvision, versions=(1,)),
    Peer('MMPretrain', mmpretrain),
)
