import numpy as np
import pytest
from pycocotools import mask as mask_utils

from mmconvnext.datasets.coco.segmentation import MaskError, check_segmentation, has_short_parts, text_of_bytes

BOX = [10, 8, 30, 8, 30, 38, 10, 38]


def run_lengths(mask):
    """Uncompressed run lengths of a mask, column by column."""
    flat = mask.flatten(order='F')
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *ends.tolist(), flat.size]).tolist()
    return [0, *runs] if flat[0] else runs


@pytest.mark.parametrize('density', [0.0, 0.02, 0.5, 1.0])
def test_run_lengths_of_pycocotools_pass(density):
    generator = np.random.default_rng(0)
    for _ in range(20):
        mask = (generator.random((64, 96)) < density).astype(np.uint8)
        text = mask_utils.encode(np.asfortranarray(mask))['counts'].decode()
        assert check_segmentation(dict(size=[64, 96], counts=text))[:2] == (64, 96)
        assert check_segmentation(dict(size=[64, 96], counts=run_lengths(mask)))[:2] == (64, 96)
        for wrong in ([63, 96], [64, 97]):
            with pytest.raises(MaskError, match='add up to 6144'):
                check_segmentation(dict(size=wrong, counts=text))


@pytest.mark.parametrize('runs', [[3000, 9000], [-1, 6145], [], ['a'], [1.5, 6142.5], None, '', 'é', '~', 'P', 7])
def test_counts_that_are_no_mask(runs):
    with pytest.raises(MaskError, match='counts'):
        check_segmentation(dict(size=[64, 96], counts=runs))


@pytest.mark.parametrize('size', [None, [64], [64.5, 96], ['64', '96'], [0, 96]])
def test_sizes_that_are_none(size):
    with pytest.raises(MaskError, match='size'):
        check_segmentation(dict(size=size, counts=[6144]))


@pytest.mark.parametrize(
    'segmentation',
    [
        BOX,
        [[]],
        [BOX[:4]],
        [BOX[:7]],
        [BOX, BOX[:7]],
        [[BOX]],
        [['1'] * 6],
        [[*BOX, None, 1]],
        [[*BOX, float('nan'), 1]],
        [[*BOX, float('inf'), 1]],
        'text',
        7,
    ],
)
def test_forms_that_are_no_polygon(segmentation):
    with pytest.raises(MaskError, match=r'a list of lists of at least 6 numbers, an even count'):
        check_segmentation(segmentation)


def test_polygons_of_less_than_three_points_beside_others():
    assert check_segmentation([BOX, BOX[:6]]) is None
    assert not has_short_parts([BOX, BOX[:6]])
    for short in ([], BOX[:2], BOX[:4]):
        assert check_segmentation([short, BOX]) is None
        assert has_short_parts([short, BOX])


def test_counts_as_python_shows_bytes():
    for text in (b'0\\5', b'`a1', b''):
        assert text_of_bytes(str(text)) == text.decode()
    for counts in ('0a', 'b', "b'", '', [1, 2], None):
        assert text_of_bytes(counts) is None
