"""From what a user calls a checkpoint to a file on this machine."""

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mmconvnext.checkpoints import manifest
from mmconvnext.checkpoints.download import cache_folder, download, download_from_hub
from mmconvnext.checkpoints.errors import CheckpointError


def locate(checkpoint: str | Path) -> Path:
    """The file of a checkpoint on this machine, downloaded if need be.

    Args:
        checkpoint: A path, an http(s) or file address, ``hf-hub:org/name`` (or ``org/name@revision``), or a short name
            of :data:`~mmconvnext.checkpoints.manifest.MANIFEST`.

    Raises:
        CheckpointError: If there is none.
    """
    if not isinstance(checkpoint, str | Path) or not str(checkpoint).strip():
        raise CheckpointError(f'checkpoint={checkpoint!r} names no checkpoint.')
    name = str(checkpoint)
    weights = manifest.MANIFEST.get(name)
    if weights and weights.url is None:
        path = cache_folder() / weights.file
        if not path.is_file():
            raise CheckpointError(f'{name} is given out on request only: {weights.how_to_get}.')
        return path
    address = weights.url if weights and weights.url else name
    scheme, is_address, _ = address.partition('://')
    if scheme.lower() in ('http', 'https') and is_address:
        return download(address)
    if address.startswith('hf-hub:'):
        return download_from_hub(address.removeprefix('hf-hub:'))
    if scheme.lower() == 'file' and is_address:
        address = url2pathname(urlsplit(address).path)
    elif is_address:
        raise CheckpointError(
            f'{name} is no address that can be read here. Those are http://, https://, file://, hf-hub:org/name, and '
            'the short names that "python -m mmconvnext.checkpoints list" prints.'
        )
    return _on_disk(Path(address).expanduser(), name)


def _on_disk(path: Path, name: str) -> Path:
    """``path`` if it is a file; says what it is instead, and what ``name`` may have been meant to be."""
    try:
        if path.is_file():
            return path
        if path.is_dir():
            raise CheckpointError(f'{path} is a folder; give the checkpoint file in it.')
    except OSError as error:  # too long for a name, or in a folder that may not be read
        raise CheckpointError(f'{name[:200]} cannot be looked up ({error.strerror}).') from error
    similar = [repr(name.strip())] if name != name.strip() else manifest.similar(name)
    hint = f' Did you mean {" or ".join(similar)}?' if similar else ''
    raise CheckpointError(f'there is no checkpoint {path if name == name.strip() else repr(name)}.{hint}')
