"""From what a user calls a checkpoint to a file on this machine."""

from pathlib import Path

from mmconvnext.checkpoints import manifest
from mmconvnext.checkpoints.download import cache_folder, download, download_from_hub
from mmconvnext.checkpoints.errors import CheckpointError


def locate(checkpoint: str) -> Path:
    """The file of a checkpoint on this machine, downloaded if need be.

    Args:
        checkpoint: A path, an http(s) address, ``hf-hub:org/name`` (or ``org/name@revision``), or a short name of
            :data:`~mmconvnext.checkpoints.manifest.MANIFEST`.

    Raises:
        CheckpointError: If there is none.
    """
    weights = manifest.MANIFEST.get(checkpoint)
    if weights and weights.url is None:
        path = cache_folder() / weights.file
        if not path.is_file():
            raise CheckpointError(f'{checkpoint} is given out on request only: {weights.how_to_get}.')
        return path
    address = weights.url if weights and weights.url else checkpoint
    if address.startswith(('http://', 'https://')):
        return download(address)
    if address.startswith('hf-hub:'):
        return download_from_hub(address.removeprefix('hf-hub:'))
    path = Path(address).expanduser()
    if path.is_dir():
        raise CheckpointError(f'{path} is a folder; give the checkpoint file in it.')
    if not path.is_file():
        similar = manifest.similar(checkpoint)
        hint = f' Did you mean {" or ".join(similar)}?' if similar else ''
        raise CheckpointError(f'there is no checkpoint {path}.{hint}')
    return path
