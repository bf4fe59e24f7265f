"""The mini set for classification: what is where, the same at every time, and nothing of a user's is touched."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmconvnext.datasets.mini import SHAPES
from mmconvnext.datasets.mini_classes import write_mini_classes


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_every_class_has_its_images_and_no_two_are_alike(tmp_path: Path) -> None:
    write_mini_classes(tmp_path / 'set', train_images=3, val_images=2, side=64)
    found = contents(tmp_path / 'set')
    assert found.pop('mini.json')
    names = {f'train/{shape.name}/{n:04d}.jpg' for shape in SHAPES for n in (1, 2, 3)}
    names |= {f'val/{shape.name}/{n:04d}.jpg' for shape in SHAPES for n in (1, 2)}
    assert found.keys() == names
    assert len(set(found.values())) == len(names)
    with Image.open(tmp_path / 'set/train/ring/0002.jpg') as image:
        assert image.size == (64, 64)
        assert np.array(image).std() > 10


def test_an_image_depends_on_its_place_alone_and_a_lost_one_is_made_again(tmp_path: Path) -> None:
    write_mini_classes(tmp_path / 'few', train_images=1, val_images=1, side=64)
    write_mini_classes(tmp_path / 'more', train_images=2, val_images=1, side=64)
    few, more = contents(tmp_path / 'few'), contents(tmp_path / 'more')
    assert all(more[name] == content for name, content in few.items() if name != 'mini.json')
    (tmp_path / 'few/train/disc/0001.jpg').unlink()
    (tmp_path / 'few/val/disc/0001.jpg').write_bytes(b'mine')
    write_mini_classes(tmp_path / 'few', train_images=1, val_images=1, side=64)
    assert contents(tmp_path / 'few') == few | {'val/disc/0001.jpg': b'mine'}


def test_another_folder_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / 'own').mkdir()
    (tmp_path / 'own/photograph.jpg').write_bytes(b'mine')
    with pytest.raises(FileExistsError):
        write_mini_classes(tmp_path / 'own', train_images=1, val_images=1, side=64)
    assert contents(tmp_path / 'own') == {'photograph.jpg': b'mine'}
