"""``python -m mmconvnext.checkpoints``: lists the published weights, and describes a checkpoint."""

import argparse
from collections import Counter

from mmconvnext.checkpoints import manifest
from mmconvnext.checkpoints.find_tensors import tensors_in
from mmconvnext.checkpoints.locate import locate
from mmconvnext.checkpoints.read_file import read_file
from mmconvnext.checkpoints.recognise import recognise
from mmconvnext.errors import errors_as_sentences


def table() -> str:
    """Lists the published weights, one per line."""
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
    """Describes a checkpoint: dialect, network, tensors, licence, and what else the file holds.

    Raises:
        CheckpointError: If it cannot be found or read, or holds no ConvNeXt.
    """
    path = locate(checkpoint)
    tensors, notes = tensors_in(read_file(path, allow_pickle), checkpoint)
    found = recognise(tensors, checkpoint)
    network = found.network
    parts = Counter(name.split('.')[0] for name in found.state)
    beside = Counter(name.split('.')[0] for name in (*found.dropped, *found.outside))
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
        'notes': ', '.join(notes) or 'none',
        'licence': found.licence or 'unknown',
    }
    return '\n'.join(f'{name:<9}{value}' for name, value in lines.items())


def main() -> None:
    """Reads the command line and prints."""
    parser = argparse.ArgumentParser(prog='python -m mmconvnext.checkpoints', description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('list', help='list the published weights')
    file = commands.add_parser('inspect', help='describe a checkpoint')
    file.add_argument('checkpoint', help='path, URL, hf-hub:org/name, or short name')
    file.add_argument('--allow-pickle', action='store_true', help='read files that can run any code as they are read')
    args = parser.parse_args()
    with errors_as_sentences():
        print(table() if args.command == 'list' else inspect(args.checkpoint, args.allow_pickle))


if __name__ == '__main__':
    main()
