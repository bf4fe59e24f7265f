"""Finds the weights in a repository of the Hugging Face hub."""

from pathlib import Path

from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.checkpoints.shards import INDEX_SUFFIX, is_index, shard_names

# Names of files of weights, in the order in which they are looked for
HUB_FILES = (
    *('model.safetensors', f'model.safetensors{INDEX_SUFFIX}', 'open_clip_model.safetensors'),
    *('pytorch_model.bin', f'pytorch_model.bin{INDEX_SUFFIX}', 'open_clip_pytorch_model.bin'),
)


def download_from_hub(name: str) -> Path:
    """Downloads the weights of a repository into the cache of huggingface_hub, unless they are there already.

    Args:
        name: ``org/name`` or ``org/name@revision``.

    Returns:
        Path of the file, or of the index of a sharded model.

    Raises:
        CheckpointError: If there are no weights, access is restricted, or huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import errors, hf_hub_download
    except ImportError as error:
        message = f"hf-hub:{name} needs the package huggingface_hub: pip install 'mmconvnext[hub]'."
        raise CheckpointError(message, package='huggingface_hub') from error
    repository, _, revision = name.partition('@')
    missing: list[errors.EntryNotFoundError] = []
    for file in HUB_FILES:
        try:
            path = Path(hf_hub_download(repository, file, revision=revision or None))
            for shard in shard_names(path) if is_index(path) else ():
                hf_hub_download(repository, shard, revision=revision or None)
            return path
        except errors.EntryNotFoundError as error:
            missing.append(error)
        except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(f'could not download hf-hub:{name} ({reason}).', repository=repository) from error
    reason = str(missing[-1]).splitlines()[0].rstrip('.')
    offline = any(isinstance(error, errors.LocalEntryNotFoundError) for error in missing)
    lacks = 'is not in the cache, and the hub cannot be reached' if offline else f'has none of {", ".join(HUB_FILES)}'
    raise CheckpointError(f'hf-hub:{name} {lacks} ({reason}).', repository=repository, offline=offline)
