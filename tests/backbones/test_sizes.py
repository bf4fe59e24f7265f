import numpy as np
import pytest

from mmconvnext.backbones import ARCHS, resolve_arch
from mmconvnext.errors import UserError

# depths, widths: ConvNeXt section 3 and ConvNeXt V2 appendix A.1
PAPER = {
    'atto': ((2, 2, 6, 2), (40, 80, 160, 320)),
    'femto': ((2, 2, 6, 2), (48, 96, 192, 384)),
    'pico': ((2, 2, 6, 2), (64, 128, 256, 512)),
    'nano': ((2, 2, 8, 2), (80, 160, 320, 640)),
    'tiny': ((3, 3, 9, 3), (96, 192, 384, 768)),
    'small': ((3, 3, 27, 3), (96, 192, 384, 768)),
    'base': ((3, 3, 27, 3), (128, 256, 512, 1024)),
    'large': ((3, 3, 27, 3), (192, 384, 768, 1536)),
    'xlarge': ((3, 3, 27, 3), (256, 512, 1024, 2048)),
    'huge': ((3, 3, 27, 3), (352, 704, 1408, 2816)),
}


def test_table_is_the_papers():
    assert {name: (arch.depths, arch.widths) for name, arch in ARCHS.items()} == PAPER


def test_custom_sizes_take_any_sequence():
    for depths, widths in (([1, 1, 2, 1], (8, 16, 32, 64)), (np.array([1, 1, 2, 1]), np.array([8, 16, 32, 64]))):
        arch = resolve_arch(dict(widths=widths, depths=depths))
        assert (arch.depths, arch.widths) == ((1, 1, 2, 1), (8, 16, 32, 64))
        assert all(type(number) is int for number in (*arch.depths, *arch.widths))


@pytest.mark.parametrize('arch', ['big', {'depths': (1, 1, 1, 1)}, 3])
def test_an_unknown_size_is_refused(arch):
    with pytest.raises(UserError, match='atto, femto') as error:
        resolve_arch(arch)
    assert error.value.facts['argument'] == 'arch'


@pytest.mark.parametrize(
    ('name', 'values'),
    [
        *(('depths', values) for values in ((1, 1, 1), (1, 1, 1, 0), 3, '3393', (True, 1, 1, 1), None)),
        ('depths', {1: 1, 2: 2, 3: 3, 4: 4}),
        ('widths', (8, 8, 8, 8.5)),
    ],
)
def test_what_is_not_one_number_a_stage_is_refused(name, values):
    with pytest.raises(UserError) as error:
        resolve_arch({'depths': (1, 1, 1, 1), 'widths': (8, 8, 8, 8), name: values})
    assert error.value.facts['argument'].startswith(f"arch['{name}']")
