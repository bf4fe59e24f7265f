import numpy as np
import pytest
from PIL import Image

from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.palettes import check_palettes

BLACK, RED, GREEN, WHITE = (0, 0, 0), (128, 0, 0), (0, 128, 0), (255, 255, 255)


def found(*maps):
    findings = Findings()
    check_palettes(findings, 'maps', {f'{index}.png': of_map for index, of_map in enumerate(maps)})
    return {finding.kind: finding for finding in findings}


@pytest.mark.parametrize(
    'maps',
    [
        [],
        [{0: BLACK, 1: RED}, {0: BLACK, 1: RED, 2: GREEN}, {0: BLACK}],
        [{0: BLACK, 1: WHITE}, {0: BLACK, 1: (9, 9, 9), 2: WHITE}],  # greys, stretched in each file
        [{0: BLACK, 1: RED, 255: BLACK}, {255: BLACK}, {0: BLACK}],  # two numbers of one colour
    ],
)
def test_maps_of_one_numbering_are_sound(maps):
    assert found(*maps) == {}


def test_the_same_colours_under_other_numbers():
    """A palette of its own in each file made one colour several classes, without a word."""
    findings = found({0: BLACK, 1: RED, 2: GREEN}, {0: BLACK, 1: GREEN}, {0: BLACK, 1: RED})
    assert set(findings) == {'map-palettes-renumbered'}
    finding = findings['map-palettes-renumbered']
    assert (finding.severity, finding.count, finding.total) == (Severity.REFUSES, 1, 3)
    assert finding.examples == ['(0, 128, 0) is 2 in 0.png and 1 in 1.png']


def test_other_colours_under_the_same_numbers():
    findings = found({0: BLACK, 1: RED}, {0: BLACK, 1: GREEN})
    assert {kind: f.severity for kind, f in findings.items()} == {'map-palettes-differ': Severity.CHANGES}


def test_palettes_of_files_are_compared(own_masks, own_segmentation, refused):
    for index, present in enumerate(([BLACK, RED, GREEN], [BLACK, GREEN])):
        picture = np.array(present, np.uint8)[np.arange(64 * 96).reshape(64, 96) % len(present)]
        image = Image.fromarray(picture).quantize(3)  # which numbers the colours of the picture
        image.save(own_masks / f'annotations/training/{index}.png')
    for loader in (own_segmentation.train_dataloader, own_segmentation.val_dataloader):
        loader.dataset.metainfo = dict(classes=('a', 'b', 'c'))
    assert refused(own_segmentation, 'map-palettes-renumbered').count == 1


def test_one_palette_in_every_file_is_sound(own_masks, own_segmentation, check):
    for index in range(2):
        image = Image.fromarray(np.full((64, 96), index, np.uint8))
        image.putpalette([*BLACK, *RED, *GREEN])
        image.save(own_masks / f'annotations/training/{index}.png')
    assert not len(check(own_segmentation).findings)
