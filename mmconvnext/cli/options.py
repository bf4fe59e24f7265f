"""The options that training and testing share."""

import argparse
import ast
import os
from typing import Any

from mmengine.config import DictAction


class Settings(DictAction):
    """MMEngine's ``KEY=VALUE`` of ``--cfg-options``, with dictionaries too, and with a sentence for what is none."""

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        """Value of a setting: as Python writes it where a dictionary is in it, else as MMEngine reads it.

        Raises:
            ValueError: If it is neither.
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
                "this is no value of Python. A dictionary is written {'name': value}, its strings in quotes, and the "
                "whole setting once more in quotes for the shell: \"KEY={'type': 'BN', 'eps': 1e-6}\""
            ) from error

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *rest: Any) -> None:
        """Adds the settings to those of the namespace."""
        for value in values:
            key, equals, _ = value.partition('=')
            if not (key and equals):
                parser.error(f'--cfg-options {value}: a setting is written KEY=VALUE, such as model.backbone.arch=base')
            if not all(key.split('.')):
                parser.error(f'--cfg-options {value}: {key} has an empty name beside a dot')
            if any(value.count(left) != value.count(right) for left, right in ('()', '[]', '{}')):
                parser.error(f'--cfg-options {value}: its brackets are not in pairs')
            try:
                super().__call__(parser, namespace, [value], *rest)
            except ValueError as error:
                parser.error(f'--cfg-options {value}: {error}')


def path(text: str) -> str:
    """A path or address with the home folder for ``~``, which shells leave as it is in ``--option=~/x``."""
    return os.path.expanduser(text)


def make_parser(description: str | None, *, config: str, mini: str, work_dir: str) -> argparse.ArgumentParser:
    """Parser of the options that training and testing share.

    Args:
        description: What the program does.
        config: What the positional argument of that name is.
        mini: What ``--mini`` does.
        work_dir: What ``--work-dir`` is for.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', type=path, help=config)
    parser.add_argument('--mini', action='store_true', help=mini)
    parser.add_argument('--data-root', type=path, help="where the data lies, in place of the config's data_root")
    parser.add_argument('--work-dir', type=path, help=f'for {work_dir} (default: work_dirs/<config name>)')
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
    """The shared options, as :func:`mmconvnext.config.prepare.prepare` takes them."""
    return dict(
        path=args.config,
        use_mini=args.mini,
        data_root=args.data_root,
        work_dir=args.work_dir,
        cfg_options=args.cfg_options,
        launcher=args.launcher,
    )
