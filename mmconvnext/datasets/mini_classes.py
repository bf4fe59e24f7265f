"""The embedded `mini` set for classification: one of the shapes of :mod:`mmconvnext.datasets.mini` on each picture."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmconvnext.datasets.mini import SHAPES, Figure, Scene, write_once

FORMAT = 1  # raise it with any change that alters a written byte, to tell older sets apart
DIAMETER = (0.4, 0.8)  # of a shape's circumscribed circle, in sides of the image
SEED = 0


def write_mini_classes(root: Path, *, train_images: int, val_images: int, side: int) -> None:
    """Writes the set under ``root``; returns at once if this very set already lies there, whole.

    Its files are ``{train,val}/{disc,star,...}/0001.jpg`` and so on, and ``mini.json``, by which it is recognised.

    Args:
        root: Where the set goes.
        train_images: How many images of each class there are to train on.
        val_images: How many images of each class there are to evaluate.
        side: Of the square images, in pixels.

    Raises:
        FileExistsError: If ``root`` holds anything else, which stays as it is.
    """
    counts = dict(train=train_images, val=val_images)

    def write(staged: Path) -> None:
        for name in _files(counts):
            split, shape, file = name.split('/')
            path = staged / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_draw(list(counts).index(split), shape, int(Path(file).stem), side))

    manifest = {'format': FORMAT, 'classes': [shape.name for shape in SHAPES], **counts, 'side': side}
    write_once(root, manifest, _files(counts), write)


def _files(counts: dict[str, int]) -> Iterator[str]:
    for split, count in counts.items():
        for shape in SHAPES:
            for number in range(1, count + 1):
                yield f'{split}/{shape.name}/{number:04d}.jpg'


def _draw(split: int, shape: str, number: int, side: int) -> bytes:
    """The picture as a JPEG file. It depends on these arguments alone."""
    category = next(index for index, one in enumerate(SHAPES) if one.name == shape)
    rng = np.random.default_rng((SEED, split, category, number))
    scene = Scene((side, side), rng)
    radius = side * rng.uniform(*DIAMETER) / 2
    x, y = rng.uniform(radius, side - radius, 2)
    scene.add(category, [Figure(SHAPES[category], x, y, radius, rng.uniform(0, math.tau))])
    return scene.jpeg()
