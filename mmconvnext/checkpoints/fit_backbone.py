"""Checks a ConvNeXt that was found in a file against a backbone, tensor by tensor, without changing the backbone."""

import re
from collections.abc import Mapping
from typing import Any, get_args

from torch import Tensor

from mmconvnext.backbones.convnext import EPS, ConvNeXt
from mmconvnext.backbones.sizes import ARCHS, Arch
from mmconvnext.checkpoints.adapt_stem import StemPolicy, adapt_stem
from mmconvnext.checkpoints.check_tensors import check_tensors
from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.checkpoints.load_plan import LoadPlan
from mmconvnext.checkpoints.network import Network, first_stages, read_network
from mmconvnext.checkpoints.recognise import Found

STEM_WEIGHT = 'downsample_layers.0.0.weight'

# timm's networks whose LayerNorms have an eps of 1e-5. No tensor tells the eps, so the sizes have to
OTHER_EPS = {
    Arch((3, 4, 30, 3), (384, 768, 1536, 3072)): 'the xxlarge ConvNeXt of OpenCLIP',
    Arch((1, 2, 4, 2), (24, 32, 48, 64)): 'the test_convnext of timm',
    Arch((1, 1, 1, 1), (32, 64, 96, 128)): 'the test_convnext2 of timm',
}


def fit_backbone(
    backbone: ConvNeXt, found: Found, *, final_norm: bool = False, stem_policy: StemPolicy = 'repeat'
) -> LoadPlan:
    """Checks a network against ``backbone``.

    Of a classifier the head stays as it is if the network has none, or one of other classes.

    Args:
        backbone: The backbone, which may be on the meta device.
        found: The network.
        final_norm: Load the norm before the classifier into the output norm of stage 3.
        stem_policy: See :func:`~mmconvnext.checkpoints.adapt_stem.adapt_stem`.

    Raises:
        CheckpointError: If the network does not fit. ``facts['settings']`` are those of the backbone that would fit, if
            there are any.
    """
    source, network = found.source, found.network
    if stem_policy not in get_args(StemPolicy):
        raise CheckpointError(
            f'adapt_stem={stem_policy!r} must be one of {", ".join(get_args(StemPolicy))}.', adapt_stem=stem_policy
        )
    if network.arch in OTHER_EPS and found.dialect.name.startswith(('timm', 'openclip')):
        message = (
            f'{source} is {OTHER_EPS[network.arch]}, whose norms have an eps of 1e-5. Here norms have an eps of '
            f'{EPS:.0e}, which would change its outputs.'
        )
        raise CheckpointError(message, file=source, network=OTHER_EPS[network.arch])
    wanted = backbone.state_dict()
    _check_settings(network, read_network(wanted), source)

    licence = f'licence {found.licence}' if found.licence else 'unknown licence'
    plan = LoadPlan(origin=f'source {found.dialect.label} {network}, {licence}')
    state = dict(found.state)
    if final_norm:
        state |= _final_norm_as_output_norm(state, wanted, source)
        plan.notes.append('norm3 from the final norm')

    for name, tensor in state.items():
        part, index, *_ = name.split('.')
        later_stage = part in ('downsample_layers', 'stages') and int(index) >= len(backbone.stages)
        other_output = re.fullmatch(r'norm\d+', part) and f'{part}.weight' not in wanted
        not_here = part in ('head', 'norm') and name not in wanted  # only a classifier has them
        other_classes = part == 'head' and not not_here and tensor.shape != wanted[name].shape
        if not_here or other_classes or later_stage or other_output:
            plan.left_out.append(name)
        else:
            plan.state[name] = tensor
    there = {name.split('.')[0] for name in plan.state}
    plan.fresh = [n for n in wanted if n.startswith(('norm', 'head')) and n.split('.')[0] not in there]
    plan.total = len(wanted) - len(plan.fresh)
    expected = {name: tensor for name, tensor in wanted.items() if name not in plan.fresh}
    adapts = network.in_channels and network.in_channels != backbone.in_channels
    if adapts:  # the stem is checked with its own channels, and adapted in the backbone's precision
        stem = expected[STEM_WEIGHT]
        expected[STEM_WEIGHT] = stem.new_empty((len(stem), network.in_channels, *stem.shape[2:]), device='meta')
    plan.state = check_tensors(plan.state, expected, source)
    if adapts:
        plan.state[STEM_WEIGHT] = adapt_stem(plan.state[STEM_WEIGHT], backbone.in_channels, stem_policy, source)
        plan.notes.append(f'stem from {network.in_channels} to {backbone.in_channels} channels by {stem_policy!r}')
    return plan


def _check_settings(network: Network, backbone: Network, source: str) -> None:
    """Compares the networks as wholes, so that an error names settings rather than hundreds of tensors."""
    if network.version == 2 and network.layer_scale:
        message = (
            f'{source} has both global response normalization and layer scale; a ConvNeXt has the one (version=2) or '
            'the other (version=1).'
        )
        raise CheckpointError(message, file=source, grn=True, layer_scale=True)
    settings: dict[str, Any] = {}
    stages = min(len(network.arch.depths), len(backbone.arch.depths))
    if first_stages(network.arch, stages) != first_stages(backbone.arch, stages):
        settings['arch'] = network.size or dict(depths=network.arch.depths, widths=network.arch.widths)
    if network.version != backbone.version:
        settings['version'] = network.version
    if network.layer_scale != backbone.layer_scale:
        settings['layer_scale_init_value'] = 1.0 if network.layer_scale else None if network.version == 2 else 0
    if stages < len(backbone.arch.depths):
        settings['out_indices'] = tuple(range(stages))
    if settings:
        listed = ', '.join(f'{name}={value!r}' for name, value in settings.items())
        # Sizes that the network could be if its last blocks are missing
        truncated = [
            name
            for name, whole in ARCHS.items()
            if whole.widths == network.arch.widths and all(a <= b for a, b in zip(network.arch.depths, whole.depths))
        ]
        doubt = f', unless it is {truncated[0]} without its last blocks' if truncated and not network.size else ''
        message = (
            f"{source} is {network}, and the backbone is {backbone}. It fits with {listed} in the backbone's config"
            f'{doubt}.'
        )
        raise CheckpointError(message, file=source, settings=settings, truncated=truncated)


def _final_norm_as_output_norm(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str
) -> dict[str, Tensor]:
    if not {'norm.weight', 'norm.bias'} <= state.keys():
        message = f'final_norm=True, but {source} has no norm before a classifier. Leave final_norm out.'
        raise CheckpointError(message, file=source, final_norm=True)
    if 'norm3.weight' not in wanted:
        message = 'final_norm=True needs the output of stage 3, which the out_indices of the backbone leave out.'
        raise CheckpointError(message, final_norm=True)
    return {'norm3.weight': state['norm.weight'], 'norm3.bias': state['norm.bias']}
