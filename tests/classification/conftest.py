"""A toy classifier, folders of images, and a photograph."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

import mmconvnext.classification  # noqa: F401  registers what the configs name

ARCH = dict(depths=(1, 1, 2, 1), widths=(4, 6, 8, 10))
CLASSES = ('ant', 'bee', 'cat', 'dog', 'elk', 'fox', 'gnu')


@pytest.fixture
def photograph() -> Path:
    """A photograph of 512x600 pixels, which comes with matplotlib."""
    return Path(matplotlib.get_data_path(), 'sample_data/grace_hopper.jpg')


@pytest.fixture
def write_folders() -> Callable[..., Path]:
    """Writes images of noise into a folder for each class."""

    def write(root: Path, classes: tuple[str, ...] = CLASSES, images: int = 2) -> Path:
        rng = np.random.default_rng(0)
        for name in classes:
            (root / name).mkdir(parents=True)
            for number in range(images):
                pixels = rng.integers(0, 255, (40, 60, 3), np.uint8)
                Image.fromarray(pixels).save(root / name / f'{number}.JPEG')
        return root

    return write
