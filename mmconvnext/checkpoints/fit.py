"""Checks every tensor of a checkpoint against a model, by name, shape and value, and touches neither."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from torch import Tensor, nn

from mmconvnext.backbones.convnext import EPS, ConvNeXt
from mmconvnext.backbones.sizes import ARCHS, Arch
from mmconvnext.checkpoints import manifest
from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.checkpoints.network import Network, first, read_network
from mmconvnext.checkpoints.recognise import Found, prefixes_of, recognise, some
from mmconvnext.checkpoints.stem import StemPolicy, adapt_stem

# What files of whole detectors hold and no model has today: copies by the EMA hook of MMCV 1, and the mean and standard
# deviation of images, which are the config's
OBSOLETE = ('ema_', 'data_preprocessor.')

STEM_WEIGHT = 'downsample_layers.0.0.weight'

# What values can be copied from as they are; those of 8 bits need a scale that is kept elsewhere
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

# Networks of timm whose norms have an eps of 1e-5, which no tensor tells
OTHER_EPS = {
    Arch((3, 4, 30, 3), (384, 768, 1536, 3072)): 'the xxlarge ConvNeXt of OpenCLIP',
    Arch((1, 2, 4, 2), (24, 32, 48, 64)): 'the test_convnext of timm',
    Arch((1, 1, 1, 1), (32, 64, 96, 128)): 'the test_convnext2 of timm',
}


@dataclass
class Fit:
    """What of a checkpoint goes into a model, and what there is to say about it.

    Args:
        state: What to load, under the model's names and in the model's shapes.
        wanted: How many tensors there could have been.
        fresh: Names of the model's tensors that stay as they are.
        left_out: Names of the checkpoint's tensors that are not used.
        notes: What else is worth saying.
        origin: Whose network it is, and under which licence.
    """

    state: dict[str, Tensor] = field(default_factory=dict)
    wanted: int = 0
    fresh: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    origin: str = ''

    def report(self, source: str) -> str:
        """One line, such as ``x.pth: 178 of 178 tensors, norm0-3 fresh, source official V1 tiny, licence MIT``."""
        parts = [f'{len(self.state)} of {self.wanted} tensors']
        if self.fresh:
            parts.append(f'{_modules(self.fresh)} fresh')
        if self.left_out:
            parts.append(f'{", ".join(dict.fromkeys(name.split(".")[0] for name in self.left_out))} left out')
        return f'{source}: {", ".join([*parts, *self.notes, self.origin])}'


def fit_backbone(
    backbone: ConvNeXt,
    found: Found,
    source: str,
    *,
    final_norm: bool = False,
    stem_policy: StemPolicy = 'repeat',
) -> Fit:
    """Checks a network that was found in a file against ``backbone``.

    Args:
        backbone: What is to be filled. It may be on the meta device.
        found: The network.
        source: What messages call the file.
        final_norm: Whether the output norm of stage 3 starts from the norm before the classifier.
        stem_policy: See :func:`~mmconvnext.checkpoints.stem.adapt_stem`.

    Raises:
        CheckpointError: If they do not fit; the message names the settings that would make them.
    """
    if stem_policy not in get_args(StemPolicy):
        raise CheckpointError(f'adapt_stem={stem_policy!r} must be one of {", ".join(get_args(StemPolicy))}.')
    wanted = backbone.state_dict()
    network = read_network(found.state)
    if network.arch in OTHER_EPS and found.dialect.name.startswith(('timm', 'openclip')):
        raise CheckpointError(
            f'{source} is {OTHER_EPS[network.arch]}, whose norms have an eps of 1e-5. Here all have {EPS:.0e}, '
            'with which its outputs would be others.'
        )
    _check_network(network, read_network(wanted), source)

    fit = Fit(origin=_origin(found, network, source))
    state = dict(found.state)
    if final_norm:
        state |= _output_norm_from_final(state, wanted, source)
        fit.notes.append('norm3 from the final norm')

    stages = len(backbone.stages)
    for name, tensor in state.items():
        part, index, *_ = name.split('.')
        past_the_last = part in ('downsample_layers', 'stages') and int(index) >= stages
        unwanted_output = re.fullmatch(r'norm\d+', part) and f'{part}.weight' not in wanted
        if part in ('head', 'norm') or past_the_last or unwanted_output:
            fit.left_out.append(name)
        else:
            fit.state[name] = tensor
    there = {name.split('.')[0] for name in fit.state}
    fit.fresh = [n for n in wanted if n.startswith('norm') and n.split('.')[0] not in there]
    fit.wanted = len(wanted) - len(fit.fresh)
    expected = {name: tensor for name, tensor in wanted.items() if name not in fit.fresh}
    adapts = network.in_channels and network.in_channels != backbone.in_channels
    if adapts:  # after the checks, and in the backbone's precision
        stem = expected[STEM_WEIGHT]
        expected[STEM_WEIGHT] = stem.new_empty((len(stem), network.in_channels, *stem.shape[2:]), device='meta')
    fit.state = _check_tensors(fit.state, expected, source)
    if adapts:
        fit.state[STEM_WEIGHT] = adapt_stem(fit.state[STEM_WEIGHT], backbone.in_channels, stem_policy, source)
        fit.notes.append(f'stem from {network.in_channels} to {backbone.in_channels} channels by {stem_policy!r}')
    return fit


def fit_detector(model: nn.Module, tensors: Mapping[str, Tensor], source: str, *, strict: bool = True) -> Fit:
    """Checks the tensors of a whole detector or segmentor against ``model``.

    Args:
        model: What is to be filled.
        tensors: Its backbone may have the names of any dialect; the rest has MMDetection's or MMSegmentation's, of
            which Mask R-CNN, Cascade R-CNN and UperNet have kept theirs from their first versions.
        source: What messages call the file.
        strict: Whether all of the model must be there. Otherwise what is missing or of another shape outside the
            backbone, as the last layers are for other classes, stays as it is.

    Raises:
        CheckpointError: If they do not fit.
    """
    backbones = {path: module for path, module in model.named_modules() if isinstance(module, ConvNeXt)}
    if not backbones:
        raise CheckpointError(f'{type(model).__name__} has no ConvNeXt to load {source} into.')
    root = _root(tensors, next(iter(backbones)), source)
    rest = {name.removeprefix(root): tensor for name, tensor in tensors.items() if name.startswith(root)}
    rest_wanted = dict(model.state_dict())
    obsolete = [name for name in rest if name.startswith(OBSOLETE) and name not in rest_wanted]
    rest = {name: tensor for name, tensor in rest.items() if name not in obsolete}
    obsolete += [name for name in tensors if not name.startswith(root)]
    fit = Fit(wanted=len(rest_wanted), notes=[f'{some(obsolete, 1)} left out'] if obsolete else [])
    for path, module in backbones.items():
        found = _recognise_under(f'{path}.', rest, source)
        part = fit_backbone(module, found, source, stem_policy='refuse' if strict else 'repeat')
        if strict and part.fresh:
            raise CheckpointError(f'{source} lacks {some(part.fresh)} of {path}, the norms of its outputs.')
        fit.state |= {f'{path}.{name}': tensor for name, tensor in part.state.items()}
        fit.fresh += [f'{path}.{name}' for name in part.fresh]
        fit.notes += part.notes
        fit.origin = part.origin
        rest = {name: tensor for name, tensor in rest.items() if not name.startswith(f'{path}.')}
        rest_wanted = {name: tensor for name, tensor in rest_wanted.items() if not name.startswith(f'{path}.')}

    # Files of old versions of PyTorch do not count the batches that a BatchNorm has seen, and nothing here reads that
    uncounted = [name for name in rest_wanted if name.endswith('.num_batches_tracked') and name not in rest]
    rest_wanted = {name: tensor for name, tensor in rest_wanted.items() if name not in uncounted}
    fit.wanted -= len(uncounted)
    if not strict:
        same = {n for n in rest.keys() & rest_wanted.keys() if rest[n].shape == rest_wanted[n].shape}
        fit.left_out += [name for name in rest if name not in same]
        fit.fresh += [name for name in rest_wanted if name not in same]
        rest = {name: tensor for name, tensor in rest.items() if name in same}
        rest_wanted = {name: tensor for name, tensor in rest_wanted.items() if name in same}
    fit.state |= _check_tensors(rest, rest_wanted, source)
    return fit


def _origin(found: Found, network: Network, source: str) -> str:
    licence = licence_of(found, network, source)
    return f'source {found.dialect.label} {network}, {f"licence {licence}" if licence else "unknown licence"}'


def licence_of(found: Found, network: Network, source: str) -> str | None:
    """The licence of a network's weights, as far as its names and those of its file tell."""
    if found.dialect.licence:
        return found.dialect.licence
    if weights := manifest.find(source):
        return weights.licence
    # Of no V2 of these sizes are there weights that do not go back to the authors'
    return 'probably CC-BY-NC 4.0 (check)' if network.version == 2 and network.size else None


def _check_network(network: Network, wanted: Network, source: str) -> None:
    """Compares what the two are of, before it comes to single tensors."""
    if network.version == 2 and network.layer_scale:
        raise CheckpointError(
            f'{source} has both global response normalization and layer scale; a ConvNeXt has the one (version=2) or '
            'the other (version=1).'
        )
    settings: dict[str, Any] = {}
    stages = min(len(network.arch.depths), len(wanted.arch.depths))
    if first(network.arch, stages) != first(wanted.arch, stages):
        settings['arch'] = network.size or dict(depths=network.arch.depths, widths=network.arch.widths)
    if network.version != wanted.version:
        settings['version'] = network.version
    if network.layer_scale != wanted.layer_scale:
        settings['layer_scale_init_value'] = 1.0 if network.layer_scale else None if network.version == 2 else 0
    if stages < len(wanted.arch.depths):
        settings['out_indices'] = tuple(range(stages))
    if settings:
        listed = ', '.join(f'{name}={value!r}' for name, value in settings.items())
        cut = _cut_from(network.arch) if 'arch' in settings else None
        doubt = f', unless it is an incomplete {cut[0]}, without {cut[1]}' if cut else ''
        raise CheckpointError(
            f"{source} is {network}, and the backbone is {wanted}. It fits with {listed} in the backbone's config"
            f'{doubt}.'
        )


def _cut_from(arch: Arch) -> tuple[str, str] | None:
    """The first size of these widths with as many blocks or more in each stage, if ``arch`` is none, and the first
    block that it lacks."""
    if arch in ARCHS.values():
        return None
    for name, whole in ARCHS.items():
        if whole.widths == arch.widths and all(a <= b for a, b in zip(arch.depths, whole.depths)):
            stage = next(i for i, (a, b) in enumerate(zip(arch.depths, whole.depths)) if a < b)
            return name, f'stages.{stage}.{arch.depths[stage]}'
    return None


def _output_norm_from_final(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str
) -> dict[str, Tensor]:
    if not {'norm.weight', 'norm.bias'} <= state.keys():
        raise CheckpointError(f'final_norm=True, but {source} has no norm before a classifier. Leave final_norm out.')
    if 'norm3.weight' not in wanted:
        raise CheckpointError('final_norm=True needs the output of stage 3, which out_indices leave out.')
    return {'norm3.weight': state['norm.weight'], 'norm3.bias': state['norm.bias']}


def _check_tensors(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Returns ``state`` in the types that are wanted, in which its values are checked too."""
    missing, unexpected = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing or unexpected:
        faults = [f'{some(missing)} missing'] * bool(missing) + [f'{some(unexpected)} left over'] * bool(unexpected)
        raise CheckpointError(f'{source} does not fit the model: {" and ".join(faults)}.')
    misshapen = [name for name in wanted if state[name].shape != wanted[name].shape]
    if misshapen:
        name = min(misshapen)
        raise CheckpointError(
            f'{source} does not fit the model: {some(misshapen)} of other shapes; {name} is {tuple(state[name].shape)} '
            f'there and {tuple(wanted[name].shape)} here.'
        )
    checked = {}
    for name, given in state.items():
        dtype = wanted[name].dtype
        if (given.dtype in FLOATS) != dtype.is_floating_point:
            raise CheckpointError(f'{source}: {name} is of {given.dtype}, not of {dtype}.')
        checked[name] = tensor = given.to(dtype)
        if not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            raise CheckpointError(
                f'{source}: {bad} of the {tensor.numel()} values of {name} are NaN or infinite as {dtype}. The '
                'training that wrote it had diverged, or the file is damaged.'
            )
    return checked


def _root(tensors: Iterable[str], path: str, source: str) -> str:
    """What stands before the model's own names in a file of it, such as ``model.``, if its backbone is at ``path``."""
    prefixes = prefixes_of(tensors)
    roots = [p.removesuffix(f'{path}.') for p in prefixes if f'.{p}'.endswith(f'.{path}.')]
    if len(roots) > 1 and '' not in roots:
        raise CheckpointError(
            f'{source} holds {len(roots)} models, under {" and ".join(roots)}. Take one of them out first: '
            f'tools/convert_checkpoint.py {source} NEW.pth --to mmconvnext --prefix {roots[0]}{path}'
        )
    return roots[0] if len(roots) == 1 else ''


def _recognise_under(prefix: str, tensors: Mapping[str, Tensor], source: str) -> Found:
    """The network under ``prefix`` of a whole detector; says so if the file is of a backbone alone."""
    if not any(name.startswith(prefix) for name in tensors):
        found = recognise(tensors, source)
        raise CheckpointError(
            f'{source} is {found.dialect.label} {read_network(found.state)} alone, with nothing under {prefix}, and no '
            f'detector or segmentor. Start the backbone from it instead (tools/train.py --pretrained {source}).'
        )
    return recognise(tensors, source, prefix)


def _modules(names: Iterable[str]) -> str:
    """The modules that tensors belong to; the norms of several outputs in a row as ``norm0-3``."""
    modules = list(dict.fromkeys(name.rpartition('.')[0] for name in names))
    numbers = [int(found[1]) for module in modules if (found := re.fullmatch(r'norm(\d)', module))]
    if len(numbers) == len(modules) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f'norm{numbers[0]}-{numbers[-1]}'
    return ', '.join(modules)
