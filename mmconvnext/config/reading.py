"""Reads a config file."""

import codecs
import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from mmengine.config import Config, ConfigDict
from mmengine.config.utils import ConfigParsingError

from mmconvnext.errors import UserError, raised_by_us

PREFIX = 'mmconvnext::'  # a config's name that starts so is looked up among the installed configs
# What MMEngine raises for config files of Python, YAML and JSON that it cannot read
UNREADABLE = (
    *(TypeError, ValueError, LookupError, NameError, AttributeError, ImportError, OSError),
    *(ConfigParsingError, yaml.YAMLError),
)
SUFFIXES = ('.py', '.yaml', '.yml', '.json')
CHECKPOINT_SUFFIXES = ('.pth', '.pt', '.bin', '.ckpt', '.safetensors')
INSTALLED = Path(__file__).parents[1] / '.mim' / 'configs'


def read_config(path: str | Path) -> Config:
    """Reads a config file and changes nothing in it.

    Args:
        path: The file, or ``mmconvnext::`` followed by its path below the package's configs.

    Raises:
        UserError: If there is no such file, if it cannot be read, or if it has no model.
    """
    by_name = str(path).startswith(PREFIX)
    file = INSTALLED / str(path).removeprefix(PREFIX) if by_name else Path(path).expanduser()
    if file.is_dir():
        raise UserError(f'{path} is a folder; give a config file in it.', config=str(path))
    if not file.is_file():
        raise UserError(
            f'there is no config file {path}.{_meant(file, by_name)} Those of this package are under configs/ and, '
            f'wherever it is installed, {PREFIX}detection/... and {PREFIX}segmentation/...',
            config=str(path),
        )
    if file.suffix not in SUFFIXES:
        order = ' A checkpoint comes second, after its config.' if file.suffix in CHECKPOINT_SUFFIXES else ''
        raise UserError(
            f'{path} is no config: the name of a config ends in {", ".join(SUFFIXES)}.{order}', config=str(path)
        )
    try:
        with _own_bases():
            cfg = Config.fromfile(str(file))
        model = cfg.get('model')  # a lazy config is resolved when it is asked for
    except UnicodeDecodeError as error:
        raise UserError(
            f'{path} is not UTF-8 text: byte {error.start + 1} is {error.object[error.start]:#04x}. Save it as UTF-8.',
            config=str(path),
        ) from error
    except SyntaxError as error:
        bom = ' Save it as UTF-8 without a byte-order mark.' if file.read_bytes().startswith(codecs.BOM_UTF8) else ''
        raise UserError(f'{path} is not Python: {error}.{bom}', config=str(path)) from error
    except UNREADABLE as error:
        if raised_by_us(error):
            raise
        raise _unreadable(path, error) from error
    if not isinstance(model, ConfigDict):
        raise UserError(
            f'{path} has no model=dict(...), so there is nothing to train or test.{_of_yolo(file, cfg)}',
            config=str(path),
        )
    return cfg


def is_segmentation(cfg: Config) -> bool:
    """Returns whether the config is of a segmentor. Otherwise it is of a detector, a classifier or a pre-training.

    Raises:
        UserError: If ``default_scope`` is not that of MMDetection, MMSegmentation or MMEngine.
    """
    scope = cfg.get('default_scope')
    if scope not in ('mmdet', 'mmseg', 'mmengine'):
        raise UserError(
            f"default_scope is {scope!r}; it must be 'mmdet' (detection), 'mmseg' (segmentation) or 'mmengine' "
            '(classification and pre-training).',
            default_scope=scope,
        )
    return scope == 'mmseg'


@contextmanager
def _own_bases() -> Iterator[None]:
    """Lets ``_base_`` name a config of this package too. MMEngine looks only in OpenMMLab's packages."""
    of_mmengine = Config._get_cfg_path

    def path_and_scope(name: str, of_file: str) -> tuple[str, str | None]:
        if name.startswith(PREFIX):
            return str(INSTALLED / name.removeprefix(PREFIX)), None
        return of_mmengine(name, of_file)

    Config._get_cfg_path = staticmethod(path_and_scope)
    try:
        yield
    finally:
        Config._get_cfg_path = staticmethod(of_mmengine)


def _unreadable(path: str | Path, error: Exception) -> UserError:
    if 'cannot inherit from base' in str(error):
        name = str(error).partition('=')[0]
        if "<class 'list'>" in str(error):
            return UserError(
                f'{path}: {name} is a dictionary, but it is a list in the config of _base_, which a config replaces as '
                f'a whole. Write {name}=[dict(one, ...) for one in _base_.model. ... .{name}], with the changes '
                'in each.',
                config=str(path),
            )
        return UserError(
            f'{path}: {name} is a dictionary, but it is not one in the config of _base_. To replace that one, write '
            f'{name}=dict(_delete_=True, ...).',
            config=str(path),
        )
    hint = ''
    if isinstance(error, ImportError) and 'mmpretrain' in str(error):
        hint = (
            " MMPretrain is not needed for ConvNeXt: write custom_imports=dict(imports=['mmconvnext']) and "
            "type='ConvNeXt' in a config of your own; docs/troubleshooting.md has both lines."
        )
    return UserError(f'{path} cannot be read: {type(error).__name__}: {error}{hint}', config=str(path))


def _of_yolo(file: Path, cfg: Config) -> str:
    """Returns a hint if the file lists data in YOLO's format, otherwise an empty text."""
    if file.suffix in ('.yaml', '.yml') and 'names' in cfg and {'train', 'val', 'path'} & cfg.keys():
        return " It lists data in YOLO's format, which this package does not read: convert it to COCO's."
    return ''


def _meant(file: Path, by_name: bool) -> str:
    """Returns a sentence that names the configs whose names are close to a missing one."""
    beside = {path.name: str(path) for path in file.parent.glob('*.py')}
    installed = {
        path.name: f'{PREFIX}{path.relative_to(INSTALLED).as_posix()}' for path in INSTALLED.glob('[!_]*/*.py')
    }
    known = installed | ({} if by_name else beside)
    close = [known[name] for name in difflib.get_close_matches(file.name, known, n=3, cutoff=0.8)]
    return f' Did you mean {" or ".join(close)}?' if close else ''
