"""Looks for images that are both trained on and evaluated, by which a result looks better than it is."""

import filecmp
import os
from collections.abc import Iterable, Mapping, Sequence

from mmconvnext.datasets.findings import Findings, Severity

SAMPLE = 50  # evaluated images of a dataset whose content is compared, spread over it
SAME_SIZE = 20  # trained images of the same number of bytes with which each is compared; of BMP all have the same


def check_overlap(findings: Findings, images: Mapping[str, Sequence[str]]) -> None:
    """Compares the images of the training with those of every evaluation: all by their paths, a sample by content.

    Datasets of one loader may share images, and so may validation and test.

    Args:
        findings: Where images go that are in both.
        images: Paths of the images of each dataset, by the dataset's name in the config, such as
            ``train_dataloader.dataset``. Those that are absent are passed over.
    """
    trained = [path for name, paths in images.items() if name.startswith('train_dataloader') for path in paths]
    real = _RealFolders()
    known = {real.path(path) for path in trained}
    by_size: dict[int, list[str]] | None = None
    for name, paths in images.items():
        if not trained or name.startswith('train_dataloader'):
            continue
        evaluated = list(dict.fromkeys(paths))
        if same := [path for path in evaluated if real.path(path) in known]:
            finding = findings.add(
                'images-trained-and-evaluated',
                Severity.CHANGES,
                name,
                'images are those of the training too, so that its evaluation does not tell how well unseen images are '
                'done',
                'Give it images that the training does not see, unless this is a trial.',
                count=len(same),
                total=len(evaluated),
            )
            finding.examples = same[:3]
            continue
        if by_size is None:
            by_size = _by_size(trained)
        chosen = evaluated[:: max(1, -(-len(evaluated) // SAMPLE))]
        for path in chosen:
            if twin := _twin(path, by_size):
                findings.add(
                    'images-trained-and-evaluated-as-copies',
                    Severity.CHANGES,
                    name,
                    'images that were compared are copies of images of the training, so that its evaluation does not '
                    'tell how well unseen images are done',
                    'Take the copies out of one of the two.',
                    example=f'{path} and {twin}',
                    total=len(chosen),
                )


class _RealFolders:
    """Paths without links and dots in their folders, each of which is resolved once."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def path(self, path: str) -> str:
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)


def _by_size(paths: Iterable[str]) -> dict[int, list[str]]:
    """The files by their number of bytes."""
    sizes: dict[int, list[str]] = {}
    for path in paths:
        if size := _size(path):
            sizes.setdefault(size, []).append(path)
    return sizes


def _twin(path: str, by_size: Mapping[int, Sequence[str]]) -> str | None:
    """A file of the same content; first those of the same name are compared."""
    name = os.path.basename(path)
    candidates = sorted(by_size.get(_size(path), ()), key=lambda other: os.path.basename(other) != name)[:SAME_SIZE]
    return next((other for other in candidates if _same_content(path, other)), None)


def _same_content(one: str, other: str) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:  # which the check of the files says
        return False


def _size(path: str) -> int:
    """Bytes of a file; 0 if there is none."""
    try:
        return os.stat(path).st_size
    except OSError:  # which the check of the files says
        return 0
