"""How each code base names and lays out the tensors of a ConvNeXt: one table, used in both directions.

The left column holds this package's names, which are those of the authors' code; the right column holds theirs. The
first line that fits a name counts. Vectors and the weights of linear layers may come with additional axes of size 1
whatever the dialect; what a dialect writes is in its ``layouts``.

Sources: facebookresearch/ConvNeXt (models/convnext.py), facebookresearch/ConvNeXt-V2 (models/convnextv2.py,
models/convnextv2_sparse.py and remap_checkpoint_keys of utils.py), facebookresearch/dinov3 (models/convnext.py), and
the modules of timm 1.0, torchvision 0.29, Hugging Face transformers 5 and MMPretrain 1.2.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

from mmconvnext.checkpoints.naming import Pattern


class Layout(NamedTuple):
    """How a dialect lays out a tensor that it does not keep as this package does."""

    to_theirs: Callable[[Tensor], Tensor]
    to_ours: Callable[[Tensor], Tensor] = lambda t: t


def _from_minkowski(kernel: Tensor) -> Tensor:
    """(k * k, C) of a depthwise or (k * k, in, out) of a full sparse convolution to (out, in, k, k), y before x."""
    side = math.isqrt(kernel.shape[0]) if kernel.ndim else 0
    if kernel.ndim not in (2, 3) or not kernel.numel() or side**2 != kernel.shape[0]:
        return kernel  # the check of shapes will name it
    return kernel.reshape(side, side, -1, kernel.shape[-1]).permute(3, 2, 1, 0)  # MinkowskiEngine counts x slowest


def _to_minkowski(weight: Tensor) -> Tensor:
    kernel = weight.permute(3, 2, 1, 0).flatten(0, 1)  # (out, in, k, k) -> (k * k, in, out)
    return kernel.squeeze(1)


ROW = Layout(lambda t: t[None])  # (1, C)
COLUMN = Layout(lambda t: t[:, None, None])  # (C, 1, 1)
NHWC = Layout(lambda t: t[None, None, None])  # (1, 1, 1, C)
CONV_1X1 = Layout(lambda t: t[:, :, None, None] if t.ndim == 2 else t)  # (out, in, 1, 1); a bias stays (out)
MINKOWSKI = Layout(_to_minkowski, _from_minkowski)

STEM = 'downsample_layers.0.{k}.{p}'
DOWNSAMPLE = 'downsample_layers.{i}.{k}.{p}'
DWCONV = 'stages.{i}.{j}.dwconv.{p}'
NORM = 'stages.{i}.{j}.norm.{p}'
PWCONV = 'stages.{i}.{j}.pwconv{n}.{p}'
GAMMA = 'stages.{i}.{j}.gamma'
GRN_GAMMA = 'stages.{i}.{j}.grn.gamma'
GRN_BETA = 'stages.{i}.{j}.grn.beta'
OUTPUT_NORM = 'norm{i}.{p}'  # of each stage that a detector takes
FINAL_NORM = 'norm.{p}'  # before the classifier
CLASSIFIER = 'head.{p}'


@dataclass(frozen=True, eq=False)
class Dialect:
    """Names and layouts of one code base.

    Args:
        name: What ``tools/convert_checkpoint.py --to`` calls it. Several may share a name: the one that has a place for
            most of the tensors counts.
        label: What a person calls it.
        names: This package's pattern of each tensor, and theirs.
        home: Prefix under which the backbone lies in their whole classifier, and ``beside`` does not.
        beside: Patterns of what lies beside ``home``.
        aliases: Other names of theirs, and this package's pattern.
        dropped: First parts of names of what such a file may hold besides, and no backbone or classifier has.
        layouts: How they lay out the tensors of a pattern of this package's.
        licence: Of the weights, if all that are published under these names have the same.
        wrapper: Under which key of a .pth file they keep the tensors, if under any.
    """

    name: str
    label: str
    names: Mapping[str, str]
    home: str = ''
    beside: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    licence: str | None = None
    wrapper: str | None = None

    @cached_property
    def _inside(self) -> list[tuple[Pattern, Pattern]]:
        aliases = ((ours, theirs) for theirs, ours in self.aliases.items())
        return [(Pattern(ours), Pattern(theirs)) for ours, theirs in (*self.names.items(), *aliases)]

    @cached_property
    def _outside(self) -> list[tuple[Pattern, Pattern]]:
        return [(Pattern(ours), Pattern(theirs)) for ours, theirs in self.beside.items()]

    @cached_property
    def _dwconv(self) -> Pattern:
        weight = next(theirs for ours, theirs in self._inside if ours.read('stages.0.0.dwconv.weight'))
        return Pattern(weight.text.replace('{p}', 'weight'))

    def prefix_of(self, name: str) -> str | None:
        """What stands before a depthwise convolution's weight, which no other network names so; None if it is none."""
        found = self._dwconv.regex.search(name)
        if found is None or found.end() != len(name) or name[: found.start()][-1:] not in ('', '.'):
            return None
        return name[: found.start()]

    def to_ours(self, name: str, tensor: Tensor, beside: bool = False) -> tuple[str, Tensor] | None:
        """This package's name and layout of a tensor of theirs, or None if they have none of that name."""
        for ours, theirs in self._outside if beside else self._inside:
            values = theirs.read(name)
            if values is not None:
                own = ours.write(values)
                layout = self.layouts.get(ours.text)
                return own, _without_ones(own, layout.to_ours(tensor) if layout else tensor)
        return None

    def to_theirs(self, name: str, tensor: Tensor) -> tuple[str, Tensor] | None:
        """Their name and layout of a tensor of this package's, or None if they have no place for it."""
        for rules, home in ((self._outside, ''), (self._inside, self.home)):
            for ours, theirs in rules:
                values = ours.read(name)
                if values is not None:
                    layout = self.layouts.get(ours.text)
                    return home + theirs.write(values), layout.to_theirs(tensor) if layout else tensor
        return None


def _without_ones(name: str, tensor: Tensor) -> Tensor:
    """Takes off the axes of size 1 that a vector or the weight of a linear layer has too many."""
    if name.endswith(('.gamma', '.beta', '.bias')):
        ndim = 1
    elif '.pwconv' in name or name == 'head.weight':
        ndim = 2
    else:
        return tensor
    while tensor.ndim > ndim and tensor.shape[-1] == 1:
        tensor = tensor.squeeze(-1)
    while tensor.ndim > ndim and tensor.shape[0] == 1:
        tensor = tensor.squeeze(0)
    return tensor


OURS = (STEM, DOWNSAMPLE, DWCONV, NORM, PWCONV, GAMMA, GRN_GAMMA, GRN_BETA, OUTPUT_NORM, FINAL_NORM, CLASSIFIER)

OFFICIAL = Dialect(
    name='official',
    label='official',
    names={pattern: pattern for pattern in OURS},
    dropped=('decoder', 'mask_token', 'proj', 'pred'),  # of FCMAE
    layouts={GRN_GAMMA: NHWC, GRN_BETA: NHWC},
    wrapper='model',
)

# What training here saves. The names are the authors', so a file of it is read as official
MMCONVNEXT = replace(OFFICIAL, name='mmconvnext', label='mmconvnext', layouts={}, wrapper='state_dict')

DINOV3 = replace(
    OFFICIAL,
    name='dinov3',
    label='DINOv3',
    # The norm of stage 3 is the final norm once more; those of stages 0 to 2 have no weights
    aliases={'norms.3.{p}': FINAL_NORM},
    licence='DINOv3 License',
)

FCMAE = replace(
    OFFICIAL,
    name='fcmae',
    label='official sparse FCMAE',
    names={
        STEM: STEM,
        'downsample_layers.{i}.0.{p}': 'downsample_layers.{i}.0.ln.{p}',
        'downsample_layers.{i}.1.weight': 'downsample_layers.{i}.1.kernel',
        'downsample_layers.{i}.1.bias': 'downsample_layers.{i}.1.bias',
        'stages.{i}.{j}.dwconv.weight': 'stages.{i}.{j}.dwconv.kernel',
        'stages.{i}.{j}.dwconv.bias': 'stages.{i}.{j}.dwconv.bias',
        NORM: 'stages.{i}.{j}.norm.ln.{p}',
        PWCONV: 'stages.{i}.{j}.pwconv{n}.linear.{p}',
        GRN_GAMMA: GRN_GAMMA,
        GRN_BETA: GRN_BETA,
    },
    home='encoder.',
    layouts={
        'downsample_layers.{i}.1.weight': MINKOWSKI,
        'downsample_layers.{i}.1.bias': ROW,
        'stages.{i}.{j}.dwconv.weight': MINKOWSKI,
        'stages.{i}.{j}.dwconv.bias': ROW,
        GRN_GAMMA: ROW,
        GRN_BETA: ROW,
    },
)

TIMM = Dialect(
    name='timm',
    label='timm',
    names={
        STEM: 'stem.{k}.{p}',
        DOWNSAMPLE: 'stages.{i}.downsample.{k}.{p}',
        DWCONV: 'stages.{i}.blocks.{j}.conv_dw.{p}',
        NORM: 'stages.{i}.blocks.{j}.norm.{p}',
        PWCONV: 'stages.{i}.blocks.{j}.mlp.fc{n}.{p}',
        GAMMA: 'stages.{i}.blocks.{j}.gamma',
        GRN_GAMMA: 'stages.{i}.blocks.{j}.mlp.grn.weight',
        GRN_BETA: 'stages.{i}.blocks.{j}.mlp.grn.bias',
        FINAL_NORM: 'head.norm.{p}',
        CLASSIFIER: 'head.fc.{p}',
    },
    aliases={'norm_pre.{p}': FINAL_NORM},  # of the variants that normalize before they pool
    dropped=('head.pre_logits',),
)

# The sizes atto to nano
TIMM_CONV_MLP = replace(TIMM, name='timm_conv_mlp', label='timm (conv_mlp)', layouts={PWCONV: CONV_1X1})

# Sequential modules flattened by timm's features_only=True
TIMM_FEATURES = replace(
    TIMM,
    name='timm_features',
    label='timm (features_only)',
    names={
        ours: theirs.replace('stem.', 'stem_').replace('stages.', 'stages_')
        for ours, theirs in TIMM.names.items()
        if ours not in (FINAL_NORM, CLASSIFIER)
    },
    aliases={},
    dropped=(),
)

OPENCLIP = replace(TIMM, name='openclip', label='OpenCLIP', home='visual.trunk.')

TORCHVISION = Dialect(
    name='torchvision',
    label='torchvision',
    names={
        DOWNSAMPLE: '{2i}.{k}.{p}',
        DWCONV: '{2i+1}.{j}.block.0.{p}',
        NORM: '{2i+1}.{j}.block.2.{p}',
        'stages.{i}.{j}.pwconv1.{p}': '{2i+1}.{j}.block.3.{p}',
        'stages.{i}.{j}.pwconv2.{p}': '{2i+1}.{j}.block.5.{p}',
        GAMMA: '{2i+1}.{j}.layer_scale',
    },
    home='features.',  # alone, these are often a detector's backbone
    beside={FINAL_NORM: 'classifier.0.{p}', CLASSIFIER: 'classifier.2.{p}'},
    layouts={GAMMA: COLUMN},
)

HF_BOTH = {
    'downsample_layers.0.0.{p}': 'embeddings.patch_embeddings.{p}',
    'downsample_layers.0.1.{p}': 'embeddings.layernorm.{p}',
    DOWNSAMPLE: 'encoder.stages.{i}.downsampling_layer.{k}.{p}',
    DWCONV: 'encoder.stages.{i}.layers.{j}.dwconv.{p}',
    NORM: 'encoder.stages.{i}.layers.{j}.layernorm.{p}',
    PWCONV: 'encoder.stages.{i}.layers.{j}.pwconv{n}.{p}',
    OUTPUT_NORM: 'hidden_states_norms.stage{i+1}.{p}',
    FINAL_NORM: 'layernorm.{p}',
}

HF_V1 = Dialect(
    name='hf',
    label='Hugging Face',
    names={**HF_BOTH, GAMMA: 'encoder.stages.{i}.layers.{j}.layer_scale_parameter'},
    home='convnext.',
    beside={CLASSIFIER: 'classifier.{p}'},
)

HF_V2 = replace(
    HF_V1,
    names={
        **HF_BOTH,
        GRN_GAMMA: 'encoder.stages.{i}.layers.{j}.grn.weight',
        GRN_BETA: 'encoder.stages.{i}.layers.{j}.grn.bias',
    },
    home='convnextv2.',
    layouts={GRN_GAMMA: NHWC, GRN_BETA: NHWC},
)

HF_DINOV3 = Dialect(
    name='hf_dinov3',
    label='Hugging Face DINOv3',
    names={
        DOWNSAMPLE: 'stages.{i}.downsample_layers.{k}.{p}',
        DWCONV: 'stages.{i}.layers.{j}.depthwise_conv.{p}',
        NORM: 'stages.{i}.layers.{j}.layer_norm.{p}',
        PWCONV: 'stages.{i}.layers.{j}.pointwise_conv{n}.{p}',
        GAMMA: 'stages.{i}.layers.{j}.gamma',
    },
    home='model.',  # since transformers 5; before, the stages lay beside the final norm
    beside={FINAL_NORM: 'layer_norm.{p}'},
    aliases={'layer_norm.{p}': FINAL_NORM},
    licence='DINOv3 License',
)

# A classifier's one norm is that of its last stage
MMPRETRAIN = Dialect(
    name='mmpretrain',
    label='MMPretrain',
    names={
        DOWNSAMPLE: DOWNSAMPLE,
        DWCONV: 'stages.{i}.{j}.depthwise_conv.{p}',
        NORM: NORM,
        PWCONV: 'stages.{i}.{j}.pointwise_conv{n}.{p}',
        GAMMA: GAMMA,
        GRN_GAMMA: GRN_GAMMA,
        GRN_BETA: GRN_BETA,
        FINAL_NORM: 'norm3.{p}',
    },
    home='backbone.',
    beside={CLASSIFIER: 'head.fc.{p}'},
    wrapper='state_dict',
)

# A detector has one for each stage
MMPRETRAIN_DETECTOR = replace(
    MMPRETRAIN,
    names={**{o: t for o, t in MMPRETRAIN.names.items() if o != FINAL_NORM}, OUTPUT_NORM: OUTPUT_NORM},
    beside={},
)

# Where two fit a file equally well, the first counts
DIALECTS = (
    OFFICIAL,
    MMCONVNEXT,
    DINOV3,
    FCMAE,
    TIMM,
    TIMM_CONV_MLP,
    TIMM_FEATURES,
    OPENCLIP,
    TORCHVISION,
    HF_V1,
    HF_V2,
    HF_DINOV3,
    MMPRETRAIN,
    MMPRETRAIN_DETECTOR,
)
TARGETS = ('mmconvnext', 'official', 'timm', 'timm_conv_mlp', 'torchvision', 'hf', 'mmpretrain')
