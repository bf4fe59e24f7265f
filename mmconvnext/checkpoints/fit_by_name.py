"""Checks the tensors of a file by their names against a backbone that is not a ConvNeXt, without changing it."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

from mmconvnext.backbones.contract import DenseBackbone
from mmconvnext.checkpoints.check_tensors import check_tensors
from mmconvnext.checkpoints.errors import CheckpointError, count_and_list
from mmconvnext.checkpoints.load_plan import LoadPlan

OUTPUT_NORM = re.compile(r'norm\d+\.')


def fit_by_name(
    backbone: DenseBackbone, tensors: Mapping[str, Tensor], source: str, prefix: str | None = None
) -> LoadPlan:
    """Checks the tensors of a network against ``backbone``.

    All of its tensors are needed but those of its output norms, which classifiers do not have.

    Args:
        backbone: The backbone, which may be on the meta device.
        tensors: All tensors of a file, under the backbone's names or under those that its ``own_name`` translates.
        source: The file's name for messages.
        prefix: What precedes the names, such as ``backbone.``. By default it is found.

    Raises:
        CheckpointError: If the network does not fit, or if the file holds several.
    """
    wanted = backbone.state_dict()
    needed = {name: tensor for name, tensor in wanted.items() if not OUTPUT_NORM.match(name)}
    kind = type(backbone).__name__
    if prefix is None:
        prefixes = _prefixes(backbone, tensors, needed)
        if len(prefixes) != 1:
            message = (
                f'{source} holds {len(prefixes)} networks with the names of this {kind}, under '
                f'{" and ".join(map(repr, prefixes))}. Choose one with prefix=....'
                if prefixes
                else f'{source} holds no network with the names of this {kind}, but {count_and_list(tensors)}.'
            )
            raise CheckpointError(message, file=source, prefixes=prefixes, tensors=list(tensors))
        prefix = prefixes[0]
    elif prefix and not prefix.endswith('.'):
        prefix += '.'

    plan = LoadPlan(origin=f'source {kind}')
    state: dict[str, Tensor] = {}
    parts = {_part(name) for name in needed}
    for name, tensor in tensors.items():
        own = backbone.own_name(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if own in state:
            message = f'{source} holds {own} twice, the second time as {name}.'
            raise CheckpointError(message, file=source, tensor=name)
        # A tensor that is too many in a layer of the backbone is refused, one of a layer that it lacks is left out
        if own is not None and (own in wanted or _part(own) in parts):
            state[own] = tensor
        else:
            plan.left_out.append(name)
    plan.fresh = [name for name in wanted if name not in needed and name not in state]
    # BatchNorms of old PyTorch versions did not count batches, and the count is only used without momentum
    expected = {
        name: tensor
        for name, tensor in wanted.items()
        if name not in plan.fresh and (name in state or not name.endswith('.num_batches_tracked'))
    }
    plan.total = len(expected)
    plan.state = check_tensors(state, expected, source)
    return plan


def _prefixes(backbone: DenseBackbone, names: Iterable[str], needed: Collection[str]) -> list[str]:
    """Returns what precedes the names of each network in a file that has most of what the backbone needs."""
    counts: Counter[str] = Counter()
    for name in names:
        for start in (0, *(dot.end() for dot in re.finditer(r'\.', name))):
            counts[name[:start]] += backbone.own_name(name[start:]) in needed
    return sorted(prefix for prefix, count in counts.items() if 2 * count > len(needed))


def _part(name: str) -> str:
    """The layer at the second level of a network, such as ``stages.2``."""
    return '.'.join(name.split('.')[:2])
