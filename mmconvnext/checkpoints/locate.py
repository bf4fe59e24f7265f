"""From the name that a user gives a checkpoint to a file on this machine."""

from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mmconvnext.checkpoints.download import cache_folder, download
from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.checkpoints.hub import download_from_hub
from mmconvnext.checkpoints.manifest import MANIFEST


def locate(checkpoint: str | Path) -> Path:
    """Returns the file of a checkpoint, which is downloaded if necessary.

    Args:
        checkpoint: A path, an http, https or file URL, ``hf-hub:org/name`` or ``hf-hub:org/name@revision``, or a short
            name of :data:`~mmconvnext.checkpoints.manifest.MANIFEST`.

    Raises:
        CheckpointError: If there is no such checkpoint, or it cannot be downloaded.
    """
    if not isinstance(checkpoint, str | Path) or not str(checkpoint).strip():
        message = f'checkpoint={checkpoint!r} does not name a checkpoint; it should be a path, a URL, or a short name.'
        raise CheckpointError(message, checkpoint=checkpoint)
    name = str(checkpoint)
    weights = MANIFEST.get(name)
    if weights and weights.url is None:
        path = cache_folder() / weights.file
        if not path.is_file():
            message = f'{name} is only given out on request: {weights.how_to_get}.'
            raise CheckpointError(message, checkpoint=name, file=weights.file)
        return path
    address = weights.url if weights and weights.url else name
    scheme, is_url, _ = address.partition('://')
    if scheme.lower() in ('http', 'https') and is_url:
        return download(address)
    if address.startswith('hf-hub:'):
        return download_from_hub(address.removeprefix('hf-hub:'))
    if scheme.lower() == 'file' and is_url:
        address = url2pathname(urlsplit(address).path)
    elif is_url:
        message = (
            f'{name}: {scheme}:// is not supported. Supported are http://, https://, file://, hf-hub:org/name, and the '
            'short names that "python -m mmconvnext.checkpoints list" prints.'
        )
        raise CheckpointError(message, checkpoint=name, scheme=scheme)
    return _on_disk(Path(address).expanduser(), name)


def _on_disk(path: Path, name: str) -> Path:
    try:
        if path.is_file():
            return path
        if path.is_dir():
            raise CheckpointError(f'{path} is a folder; give the checkpoint file in it.', checkpoint=name)
    except OSError as error:  # the name is too long, or the folder may not be read
        raise CheckpointError(f'{name[:200]} cannot be looked up ({error.strerror}).', checkpoint=name) from error
    stripped = name.strip()
    similar = [repr(stripped)] if name != stripped else get_close_matches(name, MANIFEST)
    hint = f' Did you mean {" or ".join(similar)}?' if similar else ''
    shown = path if name == stripped else repr(name)
    raise CheckpointError(f'there is no checkpoint {shown}.{hint}', checkpoint=name, similar=similar)
