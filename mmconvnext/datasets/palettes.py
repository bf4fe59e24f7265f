"""Compares the palettes of label maps: the number of a pixel is its class, whatever colour the palette gives it."""

from collections.abc import Mapping

from mmconvnext.datasets.findings import Findings, Severity

Colour = tuple[int, int, int]  # RGB, 0 to 255


def check_palettes(findings: Findings, listed: str, colours: Mapping[str, Mapping[int, Colour]]) -> None:
    """Looks for label maps in which one colour has several numbers, or one number several colours.

    A program that makes a new palette for each file renumbers the colours, so that a number is one class in one file
    and another class in the next. Maps whose greys rise with their numbers are fine: their greys may only be stretched.

    Args:
        findings: Gets what was found.
        listed: The folder of the maps, as messages name it.
        colours: The colour of each number that occurs in a map, by the map's path.
    """
    if all(_is_ramp(of_map) for of_map in colours.values()):
        return
    number_of: dict[Colour, tuple[int, str]] = {}  # and the first map that has it
    colour_of: dict[int, tuple[Colour, str]] = {}
    renumbered: dict[str, str] = {}  # an example by map
    recoloured: dict[str, str] = {}
    for path, of_map in colours.items():
        for number, colour in of_map.items():
            first, where = number_of.get(colour, (number, path))
            # Two numbers of one map may share a colour, such as black for all without a colour
            if first != number and of_map.get(first) != colour and where != path:
                renumbered.setdefault(path, f'{colour} is {first} in {where} and {number} in {path}')
            number_of.setdefault(colour, (number, path))
            other, where = colour_of.setdefault(number, (colour, path))
            if other != colour:
                recoloured.setdefault(path, f'{number} is {other} in {where} and {colour} in {path}')
    # Classes may share a colour. Numbers were changed only if a number has several colours too
    moved = {path: example for path, example in renumbered.items() if path in recoloured}
    if moved:
        finding = findings.add(
            'map-palettes-renumbered',
            Severity.REFUSES,
            listed,
            'label maps that were read have a palette of their own, in which colours have other numbers than in the '
            'others. The number is the class, so that one colour is learnt as several classes',
            'Give all maps one palette, as by image.quantize(palette=...) of Pillow, or convert the colours to class '
            'numbers, which then are the same in every file. If the numbers are right, save them without a palette: '
            'Image.fromarray(np.array(image)).save(path of the new map).',
            count=len(moved),
            total=len(colours),
        )
        finding.examples = list(moved.values())[:3]
    elif recoloured:
        finding = findings.add(
            'map-palettes-differ',
            Severity.CHANGES,
            listed,
            'label maps that were read give a number another colour than the others do. The number is the class, '
            'whatever its colour',
            'Compare these maps: if a class has one colour, its number differs from file to file.',
            count=len(recoloured),
            total=len(colours),
        )
        finding.examples = list(recoloured.values())[:3]


def _is_ramp(colours: Mapping[int, Colour]) -> bool:
    """Whether the colours are greys that grow no darker with their numbers."""
    greys = [colours[number] for number in sorted(colours)]
    return all(min(grey) == max(grey) for grey in greys) and greys == sorted(greys)
