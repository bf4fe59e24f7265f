"""Converts checkpoints from one dialect to another."""

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
from mmconvnext.checkpoints.dialects import DIALECTS, MMCONVNEXT, TARGETS
from mmconvnext.checkpoints.errors import CheckpointError, count_and_list
from mmconvnext.checkpoints.find_tensors import tensors_in
from mmconvnext.checkpoints.fit_backbone import fit_backbone
from mmconvnext.checkpoints.locate import locate
from mmconvnext.checkpoints.naming import Dialect
from mmconvnext.checkpoints.network import Network
from mmconvnext.checkpoints.read_file import read_file
from mmconvnext.checkpoints.recognise import Found, recognise
from mmconvnext.errors import UserError


@dataclass
class Converted:
    """A network in another dialect.

    Args:
        state: Its tensors, under the names and in the layouts of ``dialect``.
        dialect: The dialect.
        network: Its size and settings.
        left_out: Names of tensors that were left out. They are this package's names if it has one for the tensor, and
            else the file's.
    """

    state: dict[str, Tensor]
    dialect: Dialect
    network: Network
    left_out: list[str]


def convert(
    tensors: Mapping[str, Tensor], target: str, source: str = 'the checkpoint', prefix: str | None = None
) -> Converted:
    """Gives a ConvNeXt the names and layouts of another dialect. Values stay as they are.

    A detector or segmentor stays whole if ``target`` is ``mmconvnext``. Otherwise the backbone, the norm before the
    classifier and the classifier are converted.

    Args:
        tensors: All tensors of a file.
        target: One of :data:`~mmconvnext.checkpoints.dialects.TARGETS`.
        source: The file's name for messages.
        prefix: Chooses among several networks: what precedes the names of the tensors.

    Raises:
        CheckpointError: If the network is unknown or incomplete, or ``target`` has no names for it.
    """
    if target not in TARGETS:
        message = f'{target!r} is not a target of conversion; choose from {", ".join(TARGETS)}.'
        raise CheckpointError(message, target=target)
    found = recognise(tensors, source, prefix)
    _check_complete(found)

    whole = target == MMCONVNEXT.name and found.prefix.endswith('backbone.') and bool(found.outside)
    left_out = found.dropped + ([] if whole else list(found.outside))
    # If two dialects share the name, the one that has names for most tensors
    state, dialect = max(
        ((_write(found.state, dialect), dialect) for dialect in DIALECTS if dialect.name == target),
        key=lambda candidate: len(candidate[0]),
    )
    nameless = sorted(found.state.keys() - state.keys())
    if backbone := [name for name in nameless if name.startswith(('downsample_layers.', 'stages.'))]:
        message = f'{source} is {found.network}; {dialect.label} has no names for {count_and_list(backbone)} of it.'
        raise CheckpointError(message, file=source, nameless=backbone)
    left_out += nameless

    result = dict(state.values())
    again = recognise(result, source).state
    if ambiguous := sorted(state.keys() - again.keys()):
        message = (
            f'{source} has {count_and_list(ambiguous)}; under the names of {dialect.label} they would be read as '
            f'{count_and_list(again.keys() - state.keys())}.'
        )
        raise CheckpointError(message, file=source, ambiguous=ambiguous)
    if whole:
        root = found.prefix.removesuffix('backbone.')
        result = {f'backbone.{name}': tensor for name, tensor in result.items()}
        result |= {name.removeprefix(root): tensor for name, tensor in found.outside.items() if name.startswith(root)}
        left_out += [name for name in found.outside if not name.startswith(root)]
    return Converted(result, dialect, found.network, left_out)


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
        destination: The new file. It is a safetensors file if its suffix is .safetensors, and else written by
            torch.save.
        target: One of :data:`~mmconvnext.checkpoints.dialects.TARGETS`.
        prefix, key, allow_pickle: See :func:`~mmconvnext.checkpoints.load.load_pretrained`.
        force: Replace an existing file.

    Returns:
        One line that says what was written and what was left out.

    Raises:
        CheckpointError: If the file cannot be found, read or converted, or the new one exists or cannot be written.
    """
    destination = Path(destination)
    if destination.is_dir():
        raise CheckpointError(f'{destination} is a folder; give the name of the new file in it.', file=destination)
    if destination.exists() and not force:
        raise CheckpointError(f'{destination} exists already; --force (force=True) replaces it.', file=destination)
    tensors, notes = tensors_in(read_file(locate(source), allow_pickle), source, key)
    converted = convert(tensors, target, source, prefix)
    try:
        _save(converted.state, destination, converted.dialect.entry)
    except (OSError, RuntimeError, SafetensorError) as error:  # PyTorch and safetensors have their own for a full disk
        raise CheckpointError(f'could not write {destination} ({error}).', file=destination) from error
    parts = [f'{destination}: {len(converted.state)} tensors', f'{converted.dialect.label} {converted.network}']
    parts += [f'{count_and_list(converted.left_out)} left out'] * bool(converted.left_out)
    return ', '.join([*parts, *notes])


def _write(state: Mapping[str, Tensor], dialect: Dialect) -> dict[str, tuple[str, Tensor]]:
    """Returns the name and tensor in ``dialect`` by this package's name, for all tensors that ``dialect`` has."""
    written = {name: dialect.to_theirs(name, tensor) for name, tensor in state.items()}
    return {name: tensor for name, tensor in written.items() if tensor is not None}


def _check_complete(found: Found) -> None:
    """Checks the network against a backbone with the same settings."""
    network = found.network
    depths, widths = network.arch.depths, network.arch.widths
    if len(depths) != 4:
        message = f'{found.source} has {len(depths)} stages; only networks with all four can be converted.'
        raise CheckpointError(message, file=found.source, stages=len(depths))
    try:
        with torch.device('meta'):
            backbone = ConvNeXt(
                dict(depths=depths, widths=widths),
                version=network.version,
                in_channels=network.in_channels or 3,
                layer_scale_init_value=float(network.layer_scale) if network.version == 1 else None,
            )
    except UserError as error:
        message = f'{found.source} is {network}, which is damaged ({error}).'
        raise CheckpointError(message, file=found.source, **error.facts) from error
    fit_backbone(backbone, found)


def _save(state: Mapping[str, Tensor], path: Path, entry: str | None) -> None:
    """Writes a checkpoint under a temporary name first, so that ``path`` is never an incomplete file."""
    state = {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        if path.suffix == '.safetensors':
            save_file(state, part, metadata={'format': 'pt'})
        else:
            content: Any = {entry: state} if entry else state
            torch.save(content, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
