"""Finds the checkpoint that a training resumes from."""

import re
from pathlib import Path

from mmconvnext.checkpoints.check_file import check_file
from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.errors import UserError

NUMBERED = re.compile(r'(?:epoch|iter)_(\d+)\.pth')  # the names of MMEngine's checkpoints


def checkpoints_in(work_dir: Path) -> list[Path]:
    """Returns the checkpoints of a training, newest first.

    The first is the one in MMEngine's ``last_checkpoint``. The folder may have been moved since that was written.
    """
    numbered = [(int(found[1]), path) for path in work_dir.glob('*.pth') if (found := NUMBERED.fullmatch(path.name))]
    paths = [path for _, path in sorted(numbered, reverse=True)]
    return list(dict.fromkeys([path for path in _noted(work_dir) if path.is_file()][:1] + paths))


def _noted(work_dir: Path) -> list[Path]:
    """Returns where the checkpoint named by ``last_checkpoint`` may be: in this folder, and at the path as written."""
    note = work_dir / 'last_checkpoint'
    name = note.read_text().strip() if note.is_file() else ''
    return [work_dir / Path(name).name, Path(name)] if name else []


def _gone(work_dir: Path) -> Path | None:
    """Returns the checkpoint that ``last_checkpoint`` names, if it does not exist; otherwise None."""
    noted = _noted(work_dir)
    return noted[-1] if noted and not any(path.is_file() for path in noted) else None


def checkpoint_to_resume(work_dir: Path, resume: str) -> Path | None:
    """Returns the checkpoint to resume from, or None to train from the beginning.

    Args:
        work_dir: Where ``auto`` looks.
        resume: A file, or ``auto`` for the newest checkpoint that can be read.

    Raises:
        UserError: If there is no such file, or none of the checkpoints can be read. These are in
            ``facts['unreadable']``.
    """
    if resume != 'auto':
        path = Path(resume).expanduser()
        if path.is_dir():
            raise UserError(f'--resume: {path} is a folder; give the checkpoint file in it.', path=path)
        if not path.is_file():
            raise UserError(f'--resume: there is no checkpoint {path}.', path=path)
        return path
    paths = checkpoints_in(work_dir)
    if gone := _gone(work_dir):
        print(f'--resume auto: {work_dir}/last_checkpoint names {gone}, which is not there')
    if not paths:
        print(f'--resume auto: {work_dir} has no checkpoint yet, so training starts from the beginning')
        return None
    damages = []
    for path in paths:
        try:
            check_file(path, on_every_rank=True)  # all processes must choose the same file
        except CheckpointError as error:  # cut off because the machine went down or the disk was full
            damages.append(str(error))
            print(f'--resume auto: {path.name} is skipped: {error.facts.get("reason", error)}')
        else:
            if damages or gone:
                print(f'--resume auto: training resumes from {path.name}')
            return path
    raise UserError(
        f'--resume auto: none of the {len(paths)} checkpoints in {work_dir} can be read:\n    '
        + '\n    '.join(damages)
        + '\nTo train from the beginning, leave --resume out.',
        unreadable=paths,
    )
