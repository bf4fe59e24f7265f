"""From one dialect to another."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from mmconvnext.backbones.convnext import ConvNeXt
from mmconvnext.checkpoints.dialects import DIALECTS, MMCONVNEXT, TARGETS, Dialect
from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.checkpoints.fit import fit_backbone
from mmconvnext.checkpoints.locate import locate
from mmconvnext.checkpoints.network import Network, read_network
from mmconvnext.checkpoints.read import read_file, tensors_in
from mmconvnext.checkpoints.recognise import Found, recognise, some
from mmconvnext.errors import UserError


@dataclass
class Converted:
    """A network in another dialect.

    Args:
        state: Its tensors, under the names and in the layouts of ``dialect``.
        dialect: The dialect.
        network: What network it is.
        left_out: Names of what has no place there; this package's, where it has one for it.
    """

    state: dict[str, Tensor]
    dialect: Dialect
    network: Network
    left_out: list[str]


def convert(
    tensors: Mapping[str, Tensor], target: str, source: str = 'the checkpoint', prefix: str | None = None
) -> Converted:
    """Gives a ConvNeXt the names and layouts of another dialect, without touching a value.

    A whole detector or segmentor stays whole if ``target`` is ``mmconvnext``; of any other file the backbone, the norm
    before the classifier and the classifier are taken.

    Args:
        tensors: All that a file holds.
        target: One of :data:`~mmconvnext.checkpoints.dialects.TARGETS`.
        source: What messages call the file.
        prefix: Which network to take if there are several.

    Raises:
        CheckpointError: If the network is unknown, incomplete, or of a kind that ``target`` does not have.
    """
    if target not in TARGETS:
        raise CheckpointError(f'{target!r} is no dialect to convert to; choose from {", ".join(TARGETS)}.')
    found = recognise(tensors, source, prefix)
    network = read_network(found.state)
    _check_complete(found, network, source)

    whole = target == MMCONVNEXT.name and found.prefix.endswith('backbone.') and bool(found.beside)
    left_out = found.dropped + ([] if whole else list(found.beside))
    # Where a target has two forms, the one with a place for most tensors
    state, dialect = max(
        ((_write(found.state, dialect), dialect) for dialect in DIALECTS if dialect.name == target),
        key=lambda form: len(form[0]),
    )
    homeless = found.state.keys() - state.keys()
    if backbone := [name for name in homeless if name.startswith(('downsample_layers.', 'stages.'))]:
        raise CheckpointError(f'{source} is {network}; {dialect.label} has no place for {some(backbone)} of it.')
    left_out += sorted(homeless)

    result = dict(state.values())
    again = recognise(result, source).state
    if renamed := state.keys() - again.keys():
        raise CheckpointError(
            f'{source} has {some(renamed)}; with the names of {dialect.label} that would be read as '
            f'{some(again.keys() - state.keys())}.'
        )
    if whole:
        root = found.prefix.removesuffix('backbone.')
        result = {f'backbone.{name}': tensor for name, tensor in result.items()}
        result |= {name.removeprefix(root): tensor for name, tensor in found.beside.items() if name.startswith(root)}
        left_out += [name for name in found.beside if not name.startswith(root)]
    return Converted(result, dialect, network, left_out)


def convert_file(
    source: str,
    destination: str | Path,
    target: str,
    *,
    prefix: str | None = None,
    key: str | None = None,
    force: bool = False,
    allow_pickle: bool = False,
) -> str:
    """Converts a file to another dialect.

    Args:
        source: See :func:`~mmconvnext.checkpoints.locate.locate`.
        destination: The new file; .safetensors by its suffix, else as PyTorch writes it. It appears when it is whole.
        target: One of :data:`~mmconvnext.checkpoints.dialects.TARGETS`.
        prefix: Which network to take from a file that holds several.
        key: Which entry to take from a file that has several, such as ``model_ema``.
        force: Whether it may replace a file that is there.
        allow_pickle: Whether to read a file that can run any code as it is read.

    Returns:
        One line that says what was written and what was left out.

    Raises:
        CheckpointError: If the file cannot be had, read or converted, or the new one is there already.
    """
    destination = Path(destination)
    if destination.is_dir():
        raise CheckpointError(f'{destination} is a folder; give the name of the new file in it.')
    if destination.exists() and not force:
        raise CheckpointError(f'{destination} is there already; --force (force=True) replaces it.')
    taken = tensors_in(read_file(locate(source), allow_pickle), source, key)
    converted = convert(taken.tensors, target, source, prefix)
    try:
        _save(converted.state, destination, converted.dialect.wrapper)
    except (OSError, RuntimeError, SafetensorError) as error:  # PyTorch and safetensors have their own for a full disk
        raise CheckpointError(f'could not write {destination} ({error}).') from error
    parts = [f'{destination}: {len(converted.state)} tensors', f'{converted.dialect.label} {converted.network}']
    parts += [f'{some(converted.left_out)} left out'] * bool(converted.left_out)
    return ', '.join([*parts, *taken.notes])


def _write(state: Mapping[str, Tensor], dialect: Dialect) -> dict[str, tuple[str, Tensor]]:
    """What ``dialect`` makes of each tensor that it has a place for, by this package's name."""
    written = {name: dialect.to_theirs(name, tensor) for name, tensor in state.items()}
    return {name: tensor for name, tensor in written.items() if tensor is not None}


def _check_complete(found: Found, network: Network, source: str) -> None:
    """Checks the network against a backbone of its own kind."""
    depths, widths = network.arch.depths, network.arch.widths
    if len(depths) != 4:
        raise CheckpointError(f'{source} has {len(depths)} stages; only a network of all four is converted.')
    try:
        with torch.device('meta'):
            backbone = ConvNeXt(
                dict(depths=depths, widths=widths),
                version=network.version,
                in_channels=network.in_channels or 3,
                layer_scale_init_value=float(network.layer_scale) if network.version == 1 else None,
            )
    except UserError as error:
        raise CheckpointError(f'{source} is {network}, which is damaged ({error}).') from error
    fit_backbone(backbone, found, source)


def _save(state: Mapping[str, Tensor], path: Path, wrapper: str | None) -> None:
    """Writes a checkpoint under another name first, so that there is never half a file under ``path``."""
    state = {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        if path.suffix == '.safetensors':
            save_file(state, part, metadata={'format': 'pt'})
        else:
            content: Any = {wrapper: state} if wrapper else state
            torch.save(content, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
