"""``python -m mmconvnext.compat``: mmcv without compiled operators, in every process of this Python environment."""

import argparse

from mmconvnext.compat import startup
from mmconvnext.errors import errors_as_sentences


def main() -> None:
    """Reads the command line, and installs, removes, or says what is there."""
    parser = argparse.ArgumentParser(prog='python -m mmconvnext.compat', description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('install', help="let MMDetection's, MMSegmentation's and your own programs run without them")
    commands.add_parser('remove', help='undo it')
    commands.add_parser('status', help='say whether it is so')
    command = parser.parse_args().command
    with errors_as_sentences():
        if command == 'install':
            path = startup.install()
            print(f'{path}: from now on mmcv.ops works in every process of this environment, on torchvision.')
            print('Compiled operators, where mmcv has them, are used as before. `remove` undoes it.')
        elif command == 'remove':
            there = startup.remove()
            print(f'{startup.pth_file()} {"is removed" if there else "was not there"}.')
        else:
            path = startup.pth_file()
            if not path.is_file():
                print(f'{path} is not there.')
            elif path.read_text(encoding='utf-8') == startup.line():
                print(f'{path} is there.')
            else:
                print(f'{path} is there, but of another copy of this package; `install` makes it this one.')


if __name__ == '__main__':
    main()
