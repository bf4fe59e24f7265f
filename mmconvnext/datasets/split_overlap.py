"""Looks for images that are both trained on and evaluated, which makes a result look better than it is."""

import filecmp
import os
from collections.abc import Iterable, Mapping, Sequence

from mmconvnext.datasets.findings import Findings, Severity

SAMPLE = 50  # evaluated images of a dataset whose content is compared, spread over it
SAME_SIZE = 20  # training images with the same number of bytes that each is compared with; BMP files all have the same


def check_overlap(findings: Findings, images: Mapping[str, Sequence[str]]) -> None:
    """Compares the images of the training with those of every evaluation: all by their paths, a sample by content.

    Datasets of one loader may share images, and so may validation and test.

    Args:
        findings: Gets the images that are in both.
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
                'images are also training images, so that its evaluation does not tell how well the model does on '
                'unseen images',
                'Give it images that the training does not see, unless you are only trying things out.',
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
                    'images that were compared are copies of training images, so that its evaluation does not tell '
                    'how well the model does on unseen images',
                    'Remove the copies from one of the two.',
                    example=f'{path} and {twin}',
                    total=len(chosen),
                )


class _RealFolders:
    """Resolves links and dots in the folders of paths, each folder once."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def path(self, path: str) -> str:
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)


def _by_size(paths: Iterable[str]) -> dict[int, list[str]]:
    """Returns the files by their number of bytes."""
    sizes: dict[int, list[str]] = {}
    for path in paths:
        if size := _size(path):
            sizes.setdefault(size, []).append(path)
    return sizes


def _twin(path: str, by_size: Mapping[int, Sequence[str]]) -> str | None:
    """Returns a file with the same content. Files with the same name are compared first."""
    name = os.path.basename(path)
    candidates = sorted(by_size.get(_size(path), ()), key=lambda other: os.path.basename(other) != name)[:SAME_SIZE]
    return next((other for other in candidates if _same_content(path, other)), None)


def _same_content(one: str, other: str) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:  # the check of the files reports it
        return False


def _size(path: str) -> int:
    """Returns the number of bytes of a file; 0 if it cannot be read."""
    try:
        return os.stat(path).st_size
    except OSError:  # the check of the files reports it
        return 0
