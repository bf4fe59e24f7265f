import numpy as np
import pytest
from PIL import Image

from mmconvnext.datasets.image_damage import has_zeroed_pixels, is_damaged, why_unreadable


@pytest.fixture
def path(tmp_path):
    """A sound JPEG, with detail enough that a cut falls within its pixels."""
    path = tmp_path / 'dog.jpg'
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)).save(path)
    return path


def test_bytes_after_the_end_of_a_jpeg_are_no_damage(path):
    path.write_bytes(path.read_bytes() + b'\0' * 512)  # as cameras append
    assert is_damaged(str(path)) is None


def test_zeros_in_the_middle_of_a_jpeg(path, capfd):
    """Every decoder goes on, and grey or noise is learnt."""
    assert has_zeroed_pixels(str(path)) is None
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 512] = bytes(512)
    path.write_bytes(content)
    assert is_damaged(str(path)) is None
    assert 'zeros' in has_zeroed_pixels(str(path))
    assert capfd.readouterr().err == ''


@pytest.mark.parametrize('options', [dict(optimize=True), dict(progressive=True)])
def test_an_even_image_whose_pixels_are_zeros_is_sound(path, options):
    even = np.full((1024, 1536, 3), 250, np.uint8)
    even[:64, :96] = np.asarray(Image.open(path))
    Image.fromarray(even).save(path, **options)
    assert bytes(64) in path.read_bytes()
    assert has_zeroed_pixels(str(path)) is None


def test_photographs_of_telephones_are_named(path):
    """As HEIC under the name of a JPEG; to copy it again would not help."""
    path.write_bytes(b'\0\0\0\x24ftypheic\0\0\0\0mif1')
    assert 'HEIC' in why_unreadable(str(path))
