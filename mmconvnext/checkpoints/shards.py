"""Sharded models: several files and their index, as Hugging Face's libraries save large models."""

import json
import re
from pathlib import Path

from mmconvnext.checkpoints.errors import CheckpointError

INDEX_SUFFIX = '.index.json'
SHARD = re.compile(r'(.*)-(\d{5})-of-(\d{5})(\.(?:safetensors|bin|pth|pt))$')


def is_index(path: Path) -> bool:
    """Whether a path is the index of a sharded model."""
    return path.name.endswith(INDEX_SUFFIX)


def refuse_single_shard(path: Path) -> None:
    """Refuses a single shard, which would look like another network.

    Raises:
        CheckpointError: If the file's name says that there are other shards.
    """
    found = SHARD.fullmatch(path.name)
    if not found or int(found[3]) < 2:
        return
    index = path.with_name(f'{found[1]}{found[4]}{INDEX_SUFFIX}')
    where = '' if index.is_file() else ', which should be beside them but is missing'
    message = (
        f'{path} is shard {int(found[2])} of {int(found[3])} of a model. Give the index of all shards, {index}{where}.'
    )
    raise CheckpointError(message, file=path, shard=int(found[2]), shards=int(found[3]), index=index)


def shard_names(path: Path) -> list[str]:
    """Returns the names of the files that an index lists. All are in the folder of the index.

    Raises:
        CheckpointError: If it is not an index, or lists a file in another folder.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        names = sorted(set(content['weight_map'].values()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        message = f"{path} is not the index of a sharded model, which is a JSON object with 'weight_map' ({error})."
        raise CheckpointError(message, file=path) from error
    outside = [name for name in names if not isinstance(name, str) or Path(name).name != name or not name]
    if outside or not names:
        message = f'{path} lists {outside[:1] or "no file"}; shards must be in the folder of their index.'
        raise CheckpointError(message, file=path, outside=outside)
    return names


def read_index(path: Path) -> list[Path]:
    """Returns the files that an index lists.

    Raises:
        CheckpointError: If it is not an index, or a file is missing.
    """
    files = [path.with_name(name) for name in shard_names(path)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        message = f'{path} lists {len(files)} shards, and {len(missing)} of them are missing: {", ".join(missing[:3])}.'
        raise CheckpointError(message, file=path, missing=missing)
    return files
