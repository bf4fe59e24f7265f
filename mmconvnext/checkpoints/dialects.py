"""The dialects: how each code base names and lays out the tensors of a ConvNeXt.

Left are this package's names, which are those of the authors' code, and right are theirs. The first line that matches a
name is used. In any dialect, vectors and weights of linear layers may have additional axes of size 1 when they are
read; ``layouts`` says which ones are written.

Sources: facebookresearch/ConvNeXt (models/convnext.py), facebookresearch/ConvNeXt-V2 (models/convnextv2.py,
models/convnextv2_sparse.py and remap_checkpoint_keys of utils.py), facebookresearch/dinov3 (models/convnext.py), and
the modules of timm 1.0, torchvision 0.29, Hugging Face transformers 5 and MMPretrain 1.2.
"""

import math
from dataclasses import replace

from torch import Tensor

from mmconvnext.checkpoints.naming import Dialect, Layout


def _from_minkowski(kernel: Tensor) -> Tensor:
    """Unfolds a kernel of a sparse convolution, (k * k, C) if depthwise and else (k * k, in, out), to (out, in, k, k).

    MinkowskiEngine flattens a kernel with x as the slower axis.
    """
    side = math.isqrt(kernel.shape[0]) if kernel.ndim else 0
    if kernel.ndim not in (2, 3) or not kernel.numel() or side**2 != kernel.shape[0]:
        return kernel  # the check against the backbone's shapes reports it
    return kernel.reshape(side, side, -1, kernel.shape[-1]).permute(3, 2, 1, 0)


ROW = Layout(lambda t: t[None])  # (1, C)
COLUMN = Layout(lambda t: t[:, None, None])  # (C, 1, 1)
NHWC = Layout(lambda t: t[None, None, None])  # (1, 1, 1, C)
CONV_1X1 = Layout(lambda t: t[:, :, None, None] if t.ndim == 2 else t)  # (out, in, 1, 1); a bias stays (out)
# (k * k, C) if depthwise and else (k * k, in, out)
MINKOWSKI = Layout(lambda t: t.permute(3, 2, 1, 0).flatten(0, 1).squeeze(1), _from_minkowski)

STEM = 'downsample_layers.0.{k}.{p}'
DOWNSAMPLE = 'downsample_layers.{i}.{k}.{p}'
DWCONV = 'stages.{i}.{j}.dwconv.{p}'
NORM = 'stages.{i}.{j}.norm.{p}'
PWCONV = 'stages.{i}.{j}.pwconv{n}.{p}'
GAMMA = 'stages.{i}.{j}.gamma'
GRN_GAMMA = 'stages.{i}.{j}.grn.gamma'
GRN_BETA = 'stages.{i}.{j}.grn.beta'
OUTPUT_NORM = 'norm{i}.{p}'  # after each stage, in detectors
FINAL_NORM = 'norm.{p}'  # before the classifier
CLASSIFIER = 'head.{p}'

OURS = (STEM, DOWNSAMPLE, DWCONV, NORM, PWCONV, GAMMA, GRN_GAMMA, GRN_BETA, OUTPUT_NORM, FINAL_NORM, CLASSIFIER)

OFFICIAL = Dialect(
    name='official',
    label='official',
    names={pattern: pattern for pattern in OURS},
    dropped=('decoder', 'mask_token', 'proj', 'pred'),  # of FCMAE
    layouts={GRN_GAMMA: NHWC, GRN_BETA: NHWC},
    entry='model',
)

# What training with this package saves. It has the authors' names, so such a file is read as official
MMCONVNEXT = replace(OFFICIAL, name='mmconvnext', label='mmconvnext', layouts={}, entry='state_dict')

DINOV3 = replace(
    OFFICIAL,
    name='dinov3',
    label='DINOv3',
    # norms.3 is a copy of the final norm; the norms of stages 0 to 2 have no weights
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
    backbone_prefix='encoder.',
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
    aliases={'norm_pre.{p}': FINAL_NORM},  # in variants that normalize before pooling
    dropped=('head.pre_logits',),
)

# timm's sizes atto to nano
TIMM_CONV_MLP = replace(TIMM, name='timm_conv_mlp', label='timm (conv_mlp)', layouts={PWCONV: CONV_1X1})

# timm's features_only=True flattens sequential modules
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

OPENCLIP = replace(TIMM, name='openclip', label='OpenCLIP', backbone_prefix='visual.trunk.')

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
    backbone_prefix='features.',  # without this prefix in the backbones of detectors
    names_outside={FINAL_NORM: 'classifier.0.{p}', CLASSIFIER: 'classifier.2.{p}'},
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
    backbone_prefix='convnext.',
    names_outside={CLASSIFIER: 'classifier.{p}'},
)

HF_V2 = replace(
    HF_V1,
    names={
        **HF_BOTH,
        GRN_GAMMA: 'encoder.stages.{i}.layers.{j}.grn.weight',
        GRN_BETA: 'encoder.stages.{i}.layers.{j}.grn.bias',
    },
    backbone_prefix='convnextv2.',
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
    backbone_prefix='model.',  # since transformers 5; earlier versions had no prefix, hence the alias
    names_outside={FINAL_NORM: 'layer_norm.{p}'},
    aliases={'layer_norm.{p}': FINAL_NORM},
    licence='DINOv3 License',
)

# In MMPretrain's classifiers the final norm is the output norm of the last stage
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
    backbone_prefix='backbone.',
    names_outside={CLASSIFIER: 'head.fc.{p}'},
    entry='state_dict',
)

# In detectors there is an output norm for each stage
MMPRETRAIN_DETECTOR = replace(
    MMPRETRAIN,
    names={**{o: t for o, t in MMPRETRAIN.names.items() if o != FINAL_NORM}, OUTPUT_NORM: OUTPUT_NORM},
    names_outside={},
)

# If two match a file equally well, the first is taken
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
TARGETS = ('mmconvnext', 'official', 'fcmae', 'timm', 'timm_conv_mlp', 'torchvision', 'hf', 'mmpretrain')
