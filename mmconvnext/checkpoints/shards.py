"""Models saved in several files, as Hugging Face's libraries save large ones, and the index of these files."""

import json
import re
from pathlib import Path

from mmconvnext.checkpoints.errors import CheckpointError

INDEX_SUFFIX = '.index.json'
SHARD = re.compile(r'(.*)-(\d{5})-of-(\d{5})(\.(?:safetensors|bin|pth|pt))$')


def is_index(path: Path) -> bool:
    """Whether a path names the index of a model in several files."""
    return path.name.endswith(INDEX_SUFFIX)


def refuse_single_shard(path: Path) -> None:
    """Refuses one of several files of a model, which alone would look like another network.

    Raises:
        CheckpointError: If the file's name says that there are others.
    """
    found = SHARD.fullmatch(path.name)
    if not found or int(found[3]) < 2:
        return
    index = path.with_name(f'{found[1]}{found[4]}{INDEX_SUFFIX}')
    where = f'Give {index}, which lists them all' if index.is_file() else f'Give their index, {index.name}, which'
    where += '.' if index.is_file() else ' has to lie beside them; it is not there.'
    raise CheckpointError(
        f'{path} is shard {int(found[2])} of {int(found[3])} of a model; the other shards are missing. {where}',
        shard=int(found[2]),
        shards=int(found[3]),
        index=index,
    )


def shard_names(path: Path) -> list[str]:
    """The names of the files that an index lists, none of which leads out of its folder.

    Raises:
        CheckpointError: If it is no such index.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        names = sorted(set(content['weight_map'].values()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is not the index of a model in several files, a JSON object with 'weight_map' ({error})."
        ) from error
    outside = [name for name in names if not isinstance(name, str) or Path(name).name != name or not name]
    if outside or not names:
        raise CheckpointError(f'{path} lists {outside[:1] or "no file"}; shards lie in the folder of their index.')
    return names


def read_index(path: Path) -> list[Path]:
    """The files that an index lists.

    Raises:
        CheckpointError: If it is no such index, or a file is missing.
    """
    files = [path.with_name(name) for name in shard_names(path)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise CheckpointError(
            f'{path} lists {len(files)} shards, and {len(missing)} of them are missing: {", ".join(missing[:3])}.',
            missing=missing,
        )
    return files
