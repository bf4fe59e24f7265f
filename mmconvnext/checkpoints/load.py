"""Reads a checkpoint, checks every tensor against the backbone, and only then touches it.

Understands the authors' files (V1 and V2) and those that this package writes, whole detectors included.
"""

import pickle
from pathlib import Path
from urllib.error import URLError

import torch
from mmengine.dist import barrier, get_local_rank
from mmengine.logging import MMLogger
from torch import Tensor

from mmconvnext.backbones.convnext import ConvNeXt

WAYS_ON = (
    "Name a local file (tools/train.py --pretrained PATH, or checkpoint of the backbone's init_cfg), or start from "
    'random weights (--pretrained none, or init_cfg=None).'
)


class CheckpointError(ValueError):
    """A checkpoint that cannot be had, or does not fit. The message says why and what would."""


def load_pretrained(backbone: ConvNeXt, checkpoint: str) -> None:
    """Fills ``backbone`` from ``checkpoint``: all of it but the output norms, which pre-training does not have.

    Args:
        backbone: Left as it is if anything is wrong.
        checkpoint: A path, or an http(s) URL, which is kept in torch.hub's cache. Read with ``weights_only=True``.

    Raises:
        CheckpointError: If the file cannot be downloaded, read or understood, or if a tensor is missing, left over
            or of another shape.
    """
    state = backbone_tensors(read_state_dict(checkpoint))
    wanted = backbone.state_dict()
    fresh = {name for name in wanted if name.startswith('norm') and name not in state}
    # Stages past the last one that this backbone builds
    num_stages = len(backbone.stages)
    state = {name: t for name, t in state.items() if not _is_stage_past(name, num_stages)}

    missing = wanted.keys() - state.keys() - fresh
    unexpected = state.keys() - wanted.keys()
    if missing or unexpected:
        raise CheckpointError(
            f'{checkpoint} does not fit the backbone (depths {backbone.arch.depths}, version {backbone.version}): '
            f'{_some(missing)} missing, {_some(unexpected)} left over. Set arch, version and layer_scale_init_value to '
            'those of the checkpoint.'
        )
    misshapen = {n for n in state if state[n].shape != wanted[n].shape}
    if misshapen:
        name = min(misshapen)
        raise CheckpointError(
            f'{checkpoint} has tensors of other shapes than the backbone: {_some(misshapen)}; {name} is '
            f'{tuple(state[name].shape)} there and {tuple(wanted[name].shape)} here. Set arch and in_channels to those '
            'of the checkpoint.'
        )
    backbone.load_state_dict(state, strict=False)
    norms = sorted({name.split('.')[0] for name in fresh})
    MMLogger.get_current_instance().info(
        f'{checkpoint}: {len(state)} of {len(wanted) - len(fresh)} tensors loaded; fresh: {", ".join(norms) or "none"}'
    )


def read_state_dict(checkpoint: str) -> dict[str, Tensor]:
    """Tensors of a checkpoint file by name, on the CPU, out of its ``state_dict`` or ``model`` if it has one.

    Raises:
        CheckpointError: If the file cannot be downloaded or read.
    """
    path = download(checkpoint) if checkpoint.startswith(('http://', 'https://')) else Path(checkpoint).expanduser()
    if not path.is_file():
        raise CheckpointError(f'there is no checkpoint {path}. {WAYS_ON}')
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(f'{path} is not a checkpoint that can be read safely: {error}') from error
    for wrapper in ('state_dict', 'model'):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f'{path} holds no dictionary of tensors, at its top or under state_dict or model.')
    return content


def download(url: str) -> Path:
    """Path of ``url`` in torch.hub's cache; the first process of each machine downloads it if it is not there.

    Raises:
        CheckpointError: If it cannot be downloaded.
    """
    path = Path(torch.hub.get_dir()) / 'checkpoints' / url.rsplit('/', 1)[-1]
    if not path.is_file() and get_local_rank() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path))  # through a temporary file
        except (URLError, OSError) as error:
            raise CheckpointError(f'could not download {url} ({error}). {WAYS_ON}') from error
    barrier()
    return path


def backbone_tensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The backbone's part of a state dict, under this package's names and shapes."""
    if any(name.startswith('backbone.') for name in state):
        state = {name.removeprefix('backbone.'): t for name, t in state.items() if name.startswith('backbone.')}
    # The classifier and the norm before it; DINOv3's files repeat that norm as norms.3
    state = {n: t for n, t in state.items() if not n.startswith(('head.', 'norm.', 'norms.'))}
    # The authors keep GRN's vectors as (1, 1, 1, 4C)
    return {n: t.flatten() if '.grn.' in n else t for n, t in state.items()}


def _is_stage_past(name: str, num_stages: int) -> bool:
    part, index, *_ = name.split('.')
    return part in ('downsample_layers', 'stages') and int(index) >= num_stages


def _some(names: set[str], limit: int = 3) -> str:
    if not names:
        return 'nothing'
    listed = ', '.join(sorted(names)[:limit])
    return f'{len(names)} tensors ({listed}{", ..." if len(names) > limit else ""})'
