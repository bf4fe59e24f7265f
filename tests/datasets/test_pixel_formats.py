import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict
from PIL import Image

from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.pixel_formats import check_pixel_formats, loads_8_bits

RAMP = np.linspace(0, 4095, 64 * 96).reshape(64, 96).astype(np.uint16)
COLOURS = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)


def found(*paths):
    findings = Findings()
    check_pixel_formats(findings, 'train', map(str, paths))
    return {finding.kind: finding for finding in findings}


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif', '.webp', '.gif', '.bmp'])
@pytest.mark.parametrize('mode', ['RGB', 'L', 'P', '1', 'CMYK', 'RGBA'])
def test_what_the_loader_shows_as_it_is_has_no_finding(tmp_path, suffix, mode):
    path = tmp_path / f'a{suffix}'
    try:
        Image.fromarray(COLOURS).convert(mode).save(path)
    except (OSError, ValueError):
        pytest.skip(f'{suffix} has no {mode}')
    assert found(path) == {}


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.pgm', '.jp2'])
def test_twelve_of_sixteen_bits_arrive_nearly_black(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    cv2.imwrite(str(path), RAMP)
    assert cv2.imread(str(path)).max() <= 16  # which was not said
    finding = found(path)['images-16-bits']
    assert (finding.severity, finding.count, finding.total) == (Severity.CHANGES, 1, 1)
    assert 'become 0 to 15' in finding.examples[0]


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_sixteen_bits_in_three_channels(tmp_path, suffix):
    cv2.imwrite(str(tmp_path / f'a{suffix}'), np.stack([RAMP] * 3, -1))
    assert set(found(tmp_path / f'a{suffix}')) == {'images-16-bits'}


def test_sixteen_bits_that_are_used_up_to_the_upper_are_fine(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), RAMP * 16)
    assert found(tmp_path / 'a.png') == {}
    hot = RAMP.copy()
    hot[0, :3] = 65535  # single pixels do not make a picture bright
    cv2.imwrite(str(tmp_path / 'b.png'), hot)
    assert set(found(tmp_path / 'b.png')) == {'images-16-bits'}


@pytest.mark.parametrize('dtype', [np.int32, np.float32])
def test_bits_that_opencv_does_not_read(tmp_path, dtype):
    path = tmp_path / 'a.tif'
    Image.fromarray(RAMP.astype(dtype)).save(path)
    assert cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) is None
    assert found(path)['images-32-bits'].severity is Severity.REFUSES


@pytest.mark.parametrize('suffix', ['.tif', '.gif', '.webp', '.png'])
def test_pages_after_the_first_are_not_read(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    first, second = Image.fromarray(COLOURS), Image.fromarray(COLOURS[::-1].copy())
    first.save(path, save_all=True, append_images=[second])
    finding = found(path)['images-pages']
    assert (finding.severity, finding.count) == (Severity.CHANGES, 1)


def test_a_smaller_page_is_a_preview(tmp_path):
    picture = Image.fromarray(COLOURS)
    picture.save(tmp_path / 'a.tif', save_all=True, append_images=[picture.resize((48, 32))])
    assert found(tmp_path / 'a.tif') == {}


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.webp'])
@pytest.mark.parametrize(('rows', 'said'), [(32, True), (0, False)])
def test_transparency_is_dropped(tmp_path, suffix, rows, said):
    picture = Image.fromarray(COLOURS).convert('RGBA')
    alpha = np.full((64, 96), 255, np.uint8)
    alpha[:rows] = 0
    picture.putalpha(Image.fromarray(alpha))
    picture.save(tmp_path / f'a{suffix}')
    assert set(found(tmp_path / f'a{suffix}')) == ({'images-transparent'} if said else set())


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        ({}, True),
        (dict(color_type='grayscale'), True),
        (dict(color_type='unchanged'), False),
        (dict(imdecode_backend='tifffile'), False),
    ],
)
def test_loaders_that_make_8_bits(settings, expected):
    assert loads_8_bits([ConfigDict(type='Resize'), ConfigDict(type='LoadImageFromFile', **settings)]) is expected
    assert not loads_8_bits([ConfigDict(type='LoadRasterOfMyOwn')])
