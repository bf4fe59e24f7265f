"""The options that training and testing share."""

import argparse
import ast
import os
from typing import Any

from mmengine.config import DictAction


class Settings(DictAction):
    """MMEngine's ``KEY=VALUE`` of ``--cfg-options``, extended to dictionaries and to errors that are sentences."""

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        """Returns the value of a setting: read as Python if it contains a dictionary, otherwise as MMEngine reads it.

        Raises:
            ValueError: If it can be read in neither way.
        """
        if not (val.startswith('dict(') or (val.startswith(('{', '[', '(')) and '{' in val)):
            try:
                return DictAction._parse_iterable(val)
            except (RecursionError, AssertionError):  # brackets that it cannot split, such as (1,2),(3,4)
                pass
        try:
            return ast.literal_eval(val)
        except (ValueError, TypeError, SyntaxError) as error:
            raise ValueError(
                "this is no Python value. A dictionary is written {'name': value}, with quotes around its strings, "
                "and the shell needs quotes around the whole setting: \"KEY={'type': 'BN', 'eps': 1e-6}\""
            ) from error

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *rest: Any) -> None:
        """Adds the settings to the namespace."""
        for value in values:
            key, equals, _ = value.partition('=')
            if not (key and equals):
                parser.error(f'--cfg-options {value}: a setting is written KEY=VALUE, such as model.backbone.arch=base')
            if not all(key.split('.')):
                parser.error(f'--cfg-options {value}: {key} has a dot with nothing before or after it')
            if any(value.count(left) != value.count(right) for left, right in ('()', '[]', '{}')):
                parser.error(f'--cfg-options {value}: its brackets are not in pairs')
            try:
                super().__call__(parser, namespace, [value], *rest)
            except ValueError as error:
                parser.error(f'--cfg-options {value}: {error}')


def path(text: str) -> str:
    """Replaces ``~`` in a path by the home folder, which shells do not do in ``--option=~/x``."""
    return os.path.expanduser(text)


def make_parser(description: str | None, *, config: str, mini: str, work_dir: str) -> argparse.ArgumentParser:
    """Returns a parser with the options that training and testing share.

    Args:
        description: The description of the program.
        config: The help of the positional argument ``config``.
        mini: The help of ``--mini``.
        work_dir: What goes into ``--work-dir``.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', type=path, help=config)
    parser.add_argument('--mini', action='store_true', help=mini)
    parser.add_argument('--data-root', type=path, help="folder of the data, in place of the config's data_root")
    parser.add_argument('--work-dir', type=path, help=f'folder for {work_dir} (default: work_dirs/<config name>)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Settings,
        metavar='KEY=VALUE',
        help='set values of the config, such as model.backbone.arch=base',
    )
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm'), default='none')
    parser.add_argument('--local-rank', '--local_rank', type=int, help=argparse.SUPPRESS)  # some launchers pass it
    return parser


def shared(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the shared options, as :func:`mmconvnext.config.prepare.prepare` takes them."""
    return dict(
        path=args.config,
        use_mini=args.mini,
        data_root=args.data_root,
        work_dir=args.work_dir,
        cfg_options=args.cfg_options,
        launcher=args.launcher,
    )
