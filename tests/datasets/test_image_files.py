import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict
from PIL import Image

from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.image_files import check_image_files, turns_by_exif

SIZE = (96, 64)  # width, height


@pytest.fixture
def path(tmp_path):
    """A sound JPEG, with detail enough that a cut falls within its pixels."""
    path = tmp_path / 'dog.jpg'
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)).save(path)
    return path


def found(path, size=SIZE, **options):
    findings = Findings()
    check_image_files(findings, 'train.json', 'train', [(str(path), *size, 'images[3]')], **options)
    return {finding.kind: finding for finding in findings}


def turn(path, orientation, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).save(path, exif=exif, **options)


def test_a_sound_image_has_no_finding(path):
    assert found(path) == {}
    assert found(path, (None, None)) == {}


@pytest.mark.parametrize(
    ('kind', 'damage'),
    [
        ('images-empty', lambda path: path.write_bytes(b'')),
        ('images-pointer', lambda path: path.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:4d')),
        ('images-damaged', lambda path: path.write_bytes(path.read_bytes()[:1200])),
        ('images-damaged', lambda path: path.write_bytes(path.read_bytes()[:100])),
        ('images-damaged', lambda path: path.write_text('<html>not found</html>')),
        ('images-link', lambda path: (path.unlink(), path.symlink_to('/nonexistent/dog.jpg'))),
        ('images-no-file', lambda path: (path.unlink(), path.mkdir())),
    ],
)
def test_files_that_are_no_images_are_named(path, kind, damage):
    damage(path)
    finding = found(path)[kind]
    assert (finding.severity, finding.count, finding.total) == (Severity.REFUSES, 1, finding.total)
    assert str(path) in finding.examples[0]


def test_every_file_is_asked_for(path, tmp_path):
    images = []
    for index in range(200):
        copy = tmp_path / f'{index}.jpg'
        copy.write_bytes(b'' if index == 123 else path.read_bytes())
        images.append((str(copy), *SIZE, f'images[{index}]'))
    findings = Findings()
    check_image_files(findings, 'train.json', 'train', images)
    (finding,) = findings
    assert (finding.count, finding.total, finding.examples) == (1, 200, [str(tmp_path / '123.jpg')])


def test_width_and_height_exchanged(path):
    assert found(path, SIZE[::-1])['image-size-exchanged'].severity is Severity.REFUSES
    finding = found(path, SIZE[::-1], masks=False)['image-size-exchanged']
    assert finding.severity is Severity.CHANGES
    assert '64x96 in the file, 96x64 as loaded' in finding.examples[0]


def test_an_image_that_was_resized(path):
    assert found(path, (192, 128))['image-size'].severity is Severity.REFUSES


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.tif'])
@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_sizes_are_those_that_opencv_loads(path, suffix, orientation):
    image = path.with_suffix(suffix)
    Image.open(path).save(image)
    turn(image, orientation)
    height, width = cv2.imdecode(np.fromfile(image, np.uint8), cv2.IMREAD_COLOR).shape[:2]
    assert 'image-size-exif' not in found(image, (width, height))
    if (width, height) != SIZE:
        finding = found(image)['image-size-exif']
        assert finding.severity is Severity.REFUSES
        assert f'EXIF orientation {orientation}' in finding.examples[0]
        assert found(image, turns=False) == {}


def test_turned_by_180_degrees_cannot_be_told_from_the_size(path):
    turn(path, 3)
    assert found(path)['image-turned-unseen'].severity is Severity.CHANGES
    assert found(path, turns=False) == {}


def test_bytes_after_the_end_of_a_jpeg_are_no_damage(path):
    path.write_bytes(path.read_bytes() + b'\0' * 512)  # as cameras append
    assert found(path) == {}


def test_a_part_that_was_overwritten_with_zeros(path):
    content = bytearray(path.read_bytes())
    content[2000:2512] = bytes(512)
    path.write_bytes(content)
    assert found(path)['images-damaged'].severity is Severity.REFUSES


def test_pixels_that_the_loader_changes(path):
    path = path.with_suffix('.tif')
    Image.fromarray(np.full((64, 96), 0.5, np.float32)).save(path)
    assert set(found(path)) == {'images-32-bits'}
    assert found(path, eight_bits=False) == {}


def test_files_that_pillow_does_not_know_are_left_to_other_loaders(path):
    path.write_bytes(b'II*\0' + bytes(100))
    assert 'five channels' in found(path)['images-damaged'].examples[0]
    assert found(path, eight_bits=False) == {}


def test_images_of_very_many_pixels_are_no_fault(path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
    assert found(path) == {}


@pytest.mark.parametrize(
    ('settings', 'turns'),
    [
        ({}, True),
        (dict(color_type='unchanged'), False),
        (dict(color_type='color_ignore_orientation'), False),
        (dict(imdecode_backend='pillow'), True),
        (dict(imdecode_backend='turbojpeg'), False),
    ],
)
def test_loaders_that_turn_images(settings, turns):
    assert turns_by_exif([ConfigDict(type='Resize'), ConfigDict(type='LoadImageFromFile', **settings)]) is turns
