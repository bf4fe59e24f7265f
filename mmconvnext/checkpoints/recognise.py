"""Finds the ConvNeXt among a file's tensors, and gives them this package's names and layouts."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmconvnext.checkpoints.dialects import DIALECTS, Dialect
from mmconvnext.checkpoints.errors import CheckpointError

# Names by which other networks are known
FOREIGN = {
    r'\blayer1\.0\.conv1\.weight$': 'a ResNet',
    r'\brelative_position_bias_table$': 'a Swin Transformer',
    r'\bblocks\.0\.attn\.qkv\.weight$|\bencoder\.layer\.0\.attention\b': 'a Vision Transformer',
    r'\bblocks\.0\.dwconv\.weight$': 'an isotropic ConvNeXt, which has no stages',
}


@dataclass
class Found:
    """A ConvNeXt that was found in a file.

    Args:
        dialect: The names it has there.
        prefix: What stands before each of them, such as ``backbone.``.
        state: Its tensors under this package's names: backbone, ``norm`` before the classifier, and ``head``.
        dropped: Names of tensors under the prefix that are part of neither backbone nor classifier.
        beside: Tensors outside the prefix, under their names: the rest of a detector, a text encoder, a decoder.
    """

    dialect: Dialect
    prefix: str
    state: dict[str, Tensor] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    beside: dict[str, Tensor] = field(default_factory=dict)


def recognise(tensors: Mapping[str, Tensor], source: str, prefix: str | None = None) -> Found:
    """Finds the ConvNeXt, by names alone.

    Args:
        tensors: All that a file holds.
        source: What messages call the file.
        prefix: Which to take if there are several: what stands before its names, such as ``teacher.backbone.``.

    Raises:
        CheckpointError: If there is none, or several, or if it has tensors that no ConvNeXt has.
    """
    places = _places(tensors)
    prefixes = prefixes_of(tensors)
    if not prefixes:
        raise CheckpointError(f'{source} {_what_else(tensors)}. {_known()}')
    if prefix is None and len(prefixes) > 1:
        raise CheckpointError(
            f'{source} holds {len(prefixes)} ConvNeXts, under {" and ".join(prefixes)}; say which with prefix=..., '
            f'such as prefix={prefixes[0]!r}.'
        )
    wanted = prefixes[0] if prefix is None else with_dot(prefix)
    if wanted not in prefixes:
        raise CheckpointError(
            f'{source} has no ConvNeXt under prefix={wanted!r}; it has one under {", ".join(map(repr, prefixes))}.'
        )

    readings = [_read(tensors, dialect, wanted, source) for dialect in DIALECTS if (dialect, wanted) in places]
    found, unknown = max(readings, key=lambda r: (-len(r[1]), len(r[0].state), _at_home(r[0])))
    if unknown:
        raise CheckpointError(
            f'{source} has the names of {found.dialect.label}, but also {some(unknown)}, which no ConvNeXt has '
            'there. It is a variant that this package does not build, or the file is damaged.'
        )
    _check_for_holes(found, source)
    return found


def prefixes_of(tensors: Iterable[str]) -> list[str]:
    """What stands before the names of each ConvNeXt in a file that holds these."""
    return sorted({prefix for _, prefix in _places(tensors)})


def with_dot(prefix: str) -> str:
    """A prefix as it stands before names: ``backbone`` as ``backbone.``."""
    return prefix if prefix.endswith('.') or not prefix else f'{prefix}.'


def some(names: Iterable[str], limit: int = 3) -> str:
    """The number of names and the first few of them, for a message."""
    names = sorted(names)
    listed = ', '.join(names[:limit])
    return f'{len(names)} tensor{"s" if len(names) > 1 else ""} ({listed}{", ..." if len(names) > limit else ""})'


def _places(tensors: Iterable[str]) -> set[tuple[Dialect, str]]:
    return {(d, prefix) for d in DIALECTS for name in tensors if (prefix := d.prefix_of(name)) is not None}


def _check_for_holes(found: Found, source: str) -> None:
    """Checks that no block is missing before another one of its stage, and no stage before another one."""
    blocks = {(int(m[1]), int(m[2])) for name in found.state if (m := re.match(r'stages\.(\d+)\.(\d+)\.', name))}
    before = {(i, n) for i, j in blocks for n in range(j)} | {(n, 0) for i, _ in blocks for n in range(i)}
    if missing := sorted(before - blocks):
        listed = ', '.join(f'stages.{i}.{j}' for i, j in missing[:3])
        raise CheckpointError(
            f'{source} is incomplete: all of {listed}{", ..." if len(missing) > 3 else ""} is missing (as this package '
            'counts), and later blocks are there.'
        )


def _read(tensors: Mapping[str, Tensor], dialect: Dialect, prefix: str, source: str) -> tuple[Found, list[str]]:
    """Reads a file as one of ``dialect``, and gives the names that do not belong there too."""
    found, unknown = Found(dialect, prefix), []
    root = prefix.removesuffix(dialect.home) if dialect.home else prefix
    for name, tensor in tensors.items():
        inside = name.startswith(prefix)
        own = None
        if inside:
            own = dialect.to_ours(name.removeprefix(prefix), tensor)
        elif name.startswith(root):
            own = dialect.to_ours(name.removeprefix(root), tensor, beside=True)
        if own is not None:
            if own[0] in found.state and not torch.equal(found.state[own[0]], own[1]):
                raise CheckpointError(f'{source} holds {own[0]} twice, the second time as {name}, with other values.')
            found.state[own[0]] = own[1]
        elif not inside:
            found.beside[name] = tensor
        elif any(f'{name.removeprefix(prefix)}.'.startswith(f'{part}.') for part in dialect.dropped):
            found.dropped.append(name)
        else:
            unknown.append(name)
    return found, unknown


def _at_home(found: Found) -> bool:
    return bool(found.dialect.home) and found.prefix.endswith(found.dialect.home)


def _what_else(tensors: Mapping[str, Tensor]) -> str:
    for pattern, network in FOREIGN.items():
        if any(re.search(pattern, name) for name in tensors):
            return f'is not a ConvNeXt: by its names it is {network}'
    return f'holds no ConvNeXt that is known here, but {some(tensors)}'


def _known() -> str:
    labels = list(dict.fromkeys(dialect.label for dialect in DIALECTS))
    return f'Names that are known: those of {", ".join(labels[:-1])} and {labels[-1]}.'
