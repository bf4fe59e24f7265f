"""Finds the ConvNeXt among the tensors of a file, and gives them this package's names and layouts."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from mmconvnext.checkpoints import manifest
from mmconvnext.checkpoints.dialects import DIALECTS
from mmconvnext.checkpoints.errors import CheckpointError, count_and_list
from mmconvnext.checkpoints.naming import Dialect
from mmconvnext.checkpoints.network import Network, read_network

# Names that occur in other networks only
OTHER_NETWORKS = {
    r'\blayer1\.0\.conv1\.weight$': 'a ResNet',
    r'\brelative_position_bias_table$': 'a Swin Transformer',
    r'\bblocks\.0\.attn\.qkv\.weight$|\bencoder\.layer\.0\.attention\b': 'a Vision Transformer',
    r'\bblocks\.0\.dwconv\.weight$': 'an isotropic ConvNeXt, which has no stages',
}


@dataclass
class Found:
    """A ConvNeXt that was found in a file.

    Args:
        source: The file's name for messages.
        dialect: Whose names its tensors have in the file.
        prefix: What precedes each of these names, such as ``backbone.``.
        state: Its tensors under this package's names: the backbone, ``norm`` before the classifier, and ``head``.
        dropped: Names of tensors under the prefix that belong neither to the backbone nor to the classifier.
        outside: Tensors outside the prefix, under the file's names: the rest of a detector, a text encoder, a decoder.
    """

    source: str
    dialect: Dialect
    prefix: str
    state: dict[str, Tensor] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    outside: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def network(self) -> Network:
        """The network's size and settings."""
        return read_network(self.state)

    @property
    def licence(self) -> str | None:
        """The licence of the weights, or None if neither the names of the tensors nor that of the file tell it."""
        if self.dialect.licence:
            return self.dialect.licence
        if weights := manifest.find(self.source):
            return weights.licence
        # All known V2 weights of the published sizes derive from the authors'
        return 'probably CC-BY-NC 4.0 (check)' if self.network.version == 2 and self.network.size else None


def recognise(tensors: Mapping[str, Tensor], source: str, prefix: str | None = None) -> Found:
    """Finds the ConvNeXt by the names of the tensors.

    Args:
        tensors: All tensors of a file.
        source: The file's name for messages.
        prefix: Chooses among several networks: what precedes the names, such as ``teacher.backbone.``.

    Raises:
        CheckpointError: If there is no ConvNeXt, or several, or one with tensors that this package does not know.
    """
    places = _places(tensors)
    prefixes = sorted({place for _, place in places})
    if not prefixes:
        raise _no_convnext(tensors, source)
    if prefix is None and len(prefixes) > 1:
        message = (
            f'{source} holds {len(prefixes)} ConvNeXts, under {" and ".join(prefixes)}. Choose one with prefix=..., '
            f'such as prefix={prefixes[0]!r}.'
        )
        raise CheckpointError(message, file=source, prefixes=prefixes)
    chosen = prefixes[0] if prefix is None else prefix if prefix.endswith('.') or not prefix else f'{prefix}.'
    if chosen not in prefixes:
        message = (
            f'{source} has no ConvNeXt under prefix={chosen!r}; it has one under {", ".join(map(repr, prefixes))}.'
        )
        raise CheckpointError(message, file=source, prefix=chosen, prefixes=prefixes)

    readings = [_read(tensors, dialect, chosen, source) for dialect in DIALECTS if (dialect, chosen) in places]
    found, unknown = max(readings, key=lambda r: (-len(r[1]), len(r[0].state), _has_own_prefix(r[0])))
    if unknown:
        message = (
            f'{source} has the names of {found.dialect.label}, but also {count_and_list(unknown)}, which no ConvNeXt '
            'has there. It is a variant that this package does not build, or the file is damaged.'
        )
        raise CheckpointError(message, file=source, unknown=unknown)
    _check_for_holes(found)
    return found


def prefixes_of(names: Iterable[str]) -> list[str]:
    """Returns what precedes the names of each ConvNeXt in a file with these names."""
    return sorted({prefix for _, prefix in _places(names)})


def _places(names: Iterable[str]) -> set[tuple[Dialect, str]]:
    return {(d, prefix) for d in DIALECTS for name in names if (prefix := d.prefix_of(name)) is not None}


def _check_for_holes(found: Found) -> None:
    """Checks that no block is missing before others of its stage, and no stage before others."""
    blocks = {(int(m[1]), int(m[2])) for name in found.state if (m := re.match(r'stages\.(\d+)\.(\d+)\.', name))}
    before = {(i, n) for i, j in blocks for n in range(j)} | {(n, 0) for i, _ in blocks for n in range(i)}
    if missing := [f'stages.{i}.{j}' for i, j in sorted(before - blocks)]:
        message = (
            f'{found.source} is incomplete: all of {", ".join(missing[:3])}{", ..." if len(missing) > 3 else ""} is '
            "missing (in this package's names), and later blocks are there."
        )
        raise CheckpointError(message, file=found.source, missing=missing)


def _read(tensors: Mapping[str, Tensor], dialect: Dialect, prefix: str, source: str) -> tuple[Found, list[str]]:
    """Reads the tensors as ``dialect``; also returns the names under ``prefix`` that it does not have."""
    found, unknown = Found(source, dialect, prefix), []
    root = prefix.removesuffix(dialect.backbone_prefix) if dialect.backbone_prefix else prefix
    for name, tensor in tensors.items():
        inside = name.startswith(prefix)
        own = None
        if inside:
            own = dialect.to_ours(name.removeprefix(prefix), tensor)
        elif name.startswith(root):
            own = dialect.to_ours(name.removeprefix(root), tensor, outside=True)
        if own is not None:
            if own[0] in found.state and not torch.equal(found.state[own[0]], own[1]):
                message = f'{source} holds {own[0]} twice, the second time as {name}, with other values.'
                raise CheckpointError(message, file=source, tensor=name)
            found.state[own[0]] = own[1]
        elif not inside:
            found.outside[name] = tensor
        elif any(f'{name.removeprefix(prefix)}.'.startswith(f'{part}.') for part in dialect.dropped):
            found.dropped.append(name)
        else:
            unknown.append(name)
    return found, unknown


def _has_own_prefix(found: Found) -> bool:
    """Whether the network is under the prefix that its dialect gives it."""
    return bool(found.dialect.backbone_prefix) and found.prefix.endswith(found.dialect.backbone_prefix)


def _no_convnext(tensors: Mapping[str, Tensor], source: str) -> CheckpointError:
    labels = list(dict.fromkeys(dialect.label for dialect in DIALECTS))
    known = f'This package knows the names of {", ".join(labels[:-1])} and {labels[-1]}.'
    for pattern, network in OTHER_NETWORKS.items():
        if any(re.search(pattern, name) for name in tensors):
            message = f'{source} is not a ConvNeXt: by its names it is {network}. {known}'
            return CheckpointError(message, file=source, network=network)
    message = f'{source} holds no known ConvNeXt, but {count_and_list(tensors)}. {known}'
    return CheckpointError(message, file=source, network=None, tensors=list(tensors))
