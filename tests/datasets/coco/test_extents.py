import numpy as np
import pytest
from pycocotools import mask as mask_utils

from mmconvnext.datasets.coco import extents as extents_module
from mmconvnext.datasets.coco.extents import ExtentsReader
from mmconvnext.datasets.coco.segmentation import check_segmentation


def compressed(mask):
    encoded = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
    return check_segmentation(dict(size=list(mask.shape), counts=encoded['counts'].decode()))


@pytest.fixture(params=[1, 100, 1 << 16])
def reader(request, monkeypatch):
    monkeypatch.setattr(extents_module, 'CHUNK', request.param)
    return ExtentsReader()


def test_extents_of_run_lengths_are_those_of_the_mask(reader):
    generator = np.random.default_rng(0)
    masks = [generator.random((64, 96)) < density for density in (0.0002, 0.0005, 0.01, 0.5) for _ in range(10)]
    blocks = np.zeros((3, 64, 96), bool)
    blocks[0, 10:64, 20:30] = True  # down to the last row: its runs follow one another without a gap
    blocks[1, 0:5, 95] = True
    blocks[2] = True
    masks += [*blocks, np.zeros((64, 96), bool)]
    for place, mask in enumerate(masks):
        reader.add_runs(place, compressed(mask))
    extents = reader.finish(len(masks))
    for place, mask in enumerate(masks):
        if not mask.any():
            assert np.isnan(extents.areas[place])
            continue
        y, x = np.nonzero(mask)
        assert extents.boxes[place].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
        assert extents.areas[place] == mask.sum()


def test_extents_by_rows(reader):
    mask = np.zeros((64, 96), bool)
    mask[10:40, 70:95] = True
    in_rows = mask.reshape(-1).reshape((64, 96), order='F')  # what counts along the rows are read as
    reader.add_runs(0, compressed(in_rows))
    extents = reader.finish(1)
    assert extents.boxes_by_rows[0].tolist() == [70, 10, 95, 40]
    assert extents.boxes[0].tolist() != [70, 10, 95, 40]


def test_extents_and_areas_of_polygons(reader):
    generator = np.random.default_rng(0)
    polygons = []
    for place in range(20):
        angles = np.sort(generator.random(12)) * 2 * np.pi
        x, y = 200 + 90 * np.cos(angles), 150 + 60 * np.sin(angles)
        polygons.append(np.stack([x, y], 1).reshape(-1).tolist())
        reader.add_polygons(place, [polygons[-1], [0, 0, 1, 1]])  # a part of two points does not count
    extents = reader.finish(22)
    for place, polygon in enumerate(polygons):
        x, y = np.array(polygon).reshape(-1, 2).T
        np.testing.assert_allclose(extents.boxes[place], [x.min(), y.min(), x.max(), y.max()], rtol=1e-6)
        (drawn,) = mask_utils.area(mask_utils.frPyObjects([polygon], 300, 400))
        assert extents.areas[place] == pytest.approx(drawn, rel=0.02)
    assert np.isnan(extents.areas[20:]).all()
    assert np.isnan(extents.boxes_by_rows).all()


def test_parts_of_polygons_count_together(reader):
    reader.add_polygons(3, [[10, 8, 30, 8, 30, 38, 10, 38], [60, 2, 70, 2, 70, 12]])
    reader.add_polygons(4, [[0, 0, 4, 0, 4, 4]])
    extents = reader.finish(5)
    assert extents.boxes[3].tolist() == [10, 2, 70, 38]
    assert extents.areas[3:].tolist() == [600 + 50, 8]


def test_numbers_beyond_float32(reader):
    reader.add_polygons(0, [[0, 0, 1e300, 0, 1e300, 1e300]])
    assert np.isfinite(reader.finish(1).areas).all()
