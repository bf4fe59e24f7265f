import numpy as np
import pytest
from PIL import Image

MAP = 'annotations/training/1.png'


def labels(value, dtype=np.uint8):
    out = np.zeros((64, 96), dtype)
    out[5:9, 5:9] = value
    return out


def test_unreadable_map(own_masks, own_segmentation, complaint):
    (own_masks / MAP).write_text('no picture')
    complaint(own_segmentation, MAP, 'cannot be read')


@pytest.mark.parametrize(('mode', 'channels'), [('RGB', 3), ('RGBA', 4), ('LA', 2)])
def test_colour_map(repaint, own_segmentation, complaint, mode, channels):
    repaint(labels(200), mode)
    complaint(own_segmentation, MAP, f'have {channels} channels', 'first channel')


def test_palette_and_single_bit_are_fine(repaint, own_segmentation, own_masks, check):
    image = Image.fromarray(labels(1)).convert('P')
    image.putdata(labels(1).ravel().tolist())
    image.save(own_masks / MAP)
    check(own_segmentation)
    Image.fromarray(labels(1).astype(bool)).save(own_masks / MAP)
    check(own_segmentation)


def test_jpeg_maps_are_refused_for_being_jpeg(own_masks, found):
    for path in (own_masks / 'annotations/training').iterdir():
        Image.open(path).save(path.with_suffix('.jpg'))
    findings = found(seg_map_suffix='.jpg')
    assert set(findings) == {'map-jpeg'}
    assert findings['map-jpeg'].count == 2


def test_colours_and_fractions(own_masks, found):
    colours = np.zeros((64, 96, 3), np.uint8)
    colours[:20] = (255, 0, 0)
    Image.fromarray(colours).save(own_masks / MAP)
    assert found()['map-colours'].examples == [f'{own_masks / MAP} (RGB)']
    for path in (own_masks / 'annotations/training').iterdir():
        labels = np.asarray(Image.open(path).convert('L'))
        Image.fromarray((labels > 0).astype(np.float32) / 2).save(path.with_suffix('.tif'))
    assert found(seg_map_suffix='.tif')['map-fractions'].count == 2


def test_maps_that_another_loader_reads_are_left_to_it(own_masks, found):
    for path in (own_masks / 'annotations/training').iterdir():
        path.rename(path.with_suffix('.npy'))
        path.with_suffix('.npy').write_bytes(b'NUMPY')
    assert set(found(seg_map_suffix='.npy')) == {'map-array'}
    assert found(seg_map_suffix='.npy', eight_bits=False) == {}
