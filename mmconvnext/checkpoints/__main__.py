"""``python -m mmconvnext.checkpoints``: lists the weights that have a short name, and says what a file holds."""

import argparse
from collections import Counter

from mmconvnext.checkpoints import manifest
from mmconvnext.checkpoints.fit import licence_of
from mmconvnext.checkpoints.locate import locate
from mmconvnext.checkpoints.network import read_network
from mmconvnext.checkpoints.read import read_file, tensors_in
from mmconvnext.checkpoints.recognise import recognise
from mmconvnext.errors import errors_as_sentences


def table() -> str:
    """All weights that have a short name, one a line."""
    rows = [('name', 'network', 'trained on', 'pixels', 'published, %', 'licence', 'address')]
    for weights in manifest.MANIFEST.values():
        rows.append(
            (
                weights.name,
                f'V{weights.version} {weights.arch}',
                weights.data,
                str(weights.side or ''),
                ', '.join(f'{metric} {value}' for metric, value in weights.published.items()),
                weights.licence,
                weights.url or f'on request: {manifest.DINOV3_PAGE}',
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    return '\n'.join('  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def inspect(checkpoint: str, allow_pickle: bool = False) -> str:
    """What a file holds: dialect, network, tensors, and what beside them.

    Raises:
        CheckpointError: If it cannot be had or read, or holds no ConvNeXt.
    """
    path = locate(checkpoint)
    taken = tensors_in(read_file(path, allow_pickle), checkpoint)
    found = recognise(taken.tensors, checkpoint)
    network = read_network(found.state)
    parts = Counter(name.split('.')[0] for name in found.state)
    beside = Counter(name.split('.')[0] for name in (*found.dropped, *found.beside))
    numbers = sum(tensor.numel() for tensor in found.state.values())
    dtypes = sorted({str(tensor.dtype).removeprefix('torch.') for tensor in found.state.values()})
    lines = {
        'file': str(path),
        'names': found.dialect.label + (f', under {found.prefix}' if found.prefix else ''),
        'network': f'{network}',
        'arch': f'depths={network.arch.depths}, widths={network.arch.widths}',
        'settings': f'version={network.version}, in_channels={network.in_channels}'
        + ('' if network.layer_scale or network.version == 2 else ', layer_scale_init_value=0'),
        'tensors': f'{len(found.state)}: ' + ', '.join(f'{part} {count}' for part, count in parts.items()),
        'values': f'{numbers / 1e6:.1f} M of {", ".join(dtypes)}',
        'beside': ', '.join(f'{part} {count}' for part, count in beside.items()) or 'nothing',
        'notes': ', '.join(taken.notes) or 'none',
        'licence': licence_of(found, network, checkpoint) or 'unknown',
    }
    return '\n'.join(f'{name:<9}{value}' for name, value in lines.items())


def main() -> None:
    """Reads the command line and prints."""
    parser = argparse.ArgumentParser(prog='python -m mmconvnext.checkpoints', description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('list', help='published weights by short name')
    file = commands.add_parser('inspect', help='what a checkpoint holds')
    file.add_argument('checkpoint', help='path, address, hf-hub:org/name, or short name')
    file.add_argument('--allow-pickle', action='store_true', help='read a file that can run any code as it is read')
    args = parser.parse_args()
    with errors_as_sentences():
        print(table() if args.command == 'list' else inspect(args.checkpoint, args.allow_pickle))


if __name__ == '__main__':
    main()
