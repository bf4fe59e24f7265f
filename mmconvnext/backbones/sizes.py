"""The one table of ConvNeXt sizes.

Source: ConvNeXt, arXiv 2201.03545, section 3 (tiny to xlarge); ConvNeXt V2, arXiv 2301.00808, appendix A.1
(atto to nano and huge). Each size can be built as either version.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmconvnext.backbones.arguments import integers
from mmconvnext.errors import UserError


@dataclass(frozen=True)
class Arch:
    """Depth and width of each stage of a ConvNeXt.

    Args:
        depths: Number of blocks in each stage.
        widths: Number of channels in each stage.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]


ARCHS: dict[str, Arch] = {
    'atto': Arch((2, 2, 6, 2), (40, 80, 160, 320)),
    'femto': Arch((2, 2, 6, 2), (48, 96, 192, 384)),
    'pico': Arch((2, 2, 6, 2), (64, 128, 256, 512)),
    'nano': Arch((2, 2, 8, 2), (80, 160, 320, 640)),
    'tiny': Arch((3, 3, 9, 3), (96, 192, 384, 768)),
    'small': Arch((3, 3, 27, 3), (96, 192, 384, 768)),
    'base': Arch((3, 3, 27, 3), (128, 256, 512, 1024)),
    'large': Arch((3, 3, 27, 3), (192, 384, 768, 1536)),
    'xlarge': Arch((3, 3, 27, 3), (256, 512, 1024, 2048)),
    'huge': Arch((3, 3, 27, 3), (352, 704, 1408, 2816)),
}


def resolve_arch(arch: str | Mapping[str, Sequence[int]]) -> Arch:
    """Looks up a size by name, or checks a custom one.

    Args:
        arch: A name of :data:`ARCHS`, or ``dict(depths=..., widths=...)`` with four positive integers each.

    Raises:
        UserError: If the name is unknown, or the mapping is not four depths and four widths.
    """
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise UserError(
                f'arch={arch!r} is not a ConvNeXt size; choose from {", ".join(ARCHS)}.',
                argument='arch',
                sizes=[*ARCHS],
            )
        return ARCHS[arch]
    if not isinstance(arch, Mapping) or set(arch) != {'depths', 'widths'}:
        hint = ''
        if isinstance(arch, Mapping) and {'channels', 'dims'} & set(arch):
            hint = " The channels of MMPretrain and the dims of the authors' code are called widths here."
        raise UserError(
            f'arch={arch!r} is neither one of {", ".join(ARCHS)} nor, for instance, dict(depths=(3, 3, 9, 3), '
            f'widths=(96, 192, 384, 768)).{hint}',
            argument='arch',
        )
    return Arch(*(one_per_stage(f'arch[{name!r}]', arch[name]) for name in ('depths', 'widths')))


def one_per_stage(name: str, values: object) -> tuple[int, ...]:
    """Returns four positive integers, or raises a UserError that calls them ``name``."""
    meaning = 'one positive integer for each of the four stages'
    found = integers(name, values, lambda n: n > 0, meaning)
    if len(found) != 4:
        raise UserError(f'{name}={values!r} must be {meaning}.', argument=name)
    return found
