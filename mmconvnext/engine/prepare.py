"""Makes a config ready to train or test on this machine and this data, or says what is wrong with the request."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.checkpoints.locate import locate
from mmconvnext.checkpoints.read import check_file
from mmconvnext.datasets.checks import check_data, point_at_copies
from mmconvnext.datasets.coco.mending import write_copy
from mmconvnext.engine import config, machine, processes
from mmconvnext.engine.console import building
from mmconvnext.engine.follow import check_weights
from mmconvnext.engine.metric_names import check_monitored
from mmconvnext.engine.scale_down import scale_down
from mmconvnext.errors import UserError

NUMBERED = re.compile(r'(?:epoch|iter)_(\d+)\.pth')  # names of MMEngine's checkpoints


def prepare(
    path: str,
    *,
    use_mini: bool = False,
    data_root: str | None = None,
    work_dir: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    amp: str = 'auto',
    seed: int | None = None,
    launcher: str = 'none',
) -> Config:
    """Makes a config ready to run on this machine and this data.

    Args:
        path: The config file.
        use_mini: Whether to scale it down to the embedded mini data.
        data_root: Where the data lies, in place of the config's ``data_root``.
        work_dir: Where logs, checkpoints and pictures go; ``work_dirs/<config name>`` if None.
        cfg_options: Values to set, by dotted name. They win over everything but what the machine lacks.
        amp: Mixed precision; see :func:`mmconvnext.engine.machine.adapt`.
        seed: Of every random number generator; None leaves it to the config, which draws one.
        launcher: ``none``, ``pytorch`` (torchrun) or ``slurm``.

    Raises:
        UserError: If anything asked for is unknown, contradictory or cannot be had.
    """
    if use_mini and data_root:
        raise UserError('--mini makes its own data, so --data-root has nothing to point at; give one of the two.')
    cfg = config.read_config(path)
    asked = config.as_tree(cfg_options, cfg)
    if use_mini:
        scale_down(cfg, config.MINI_ROOT, asked)
    elif data_root:
        config.set_data_root(cfg, Path(data_root).expanduser())
    with building('the backbone, and what follows from it'):
        config.set_options(cfg, asked)
    work_dir = work_dir or cfg.get('work_dir') or f'work_dirs/{Path(path).stem}{"_mini" if use_mini else ""}'
    cfg.work_dir = str(Path(work_dir).expanduser())
    cfg.launcher = launcher
    if seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    cfg.run_hooks = [dict(type='ProgressBarHook')]
    with building('what this machine decides'):
        machine.adapt(cfg, amp)
    return cfg


def configure_training(
    cfg: Config, *, pretrained: str | None = None, resume: str | None = None, auto_scale_lr: bool = False
) -> None:
    """Adds to a config of :func:`prepare` what only training needs.

    Args:
        cfg: Changed in place.
        pretrained: Checkpoint of the backbone, in place of the config's; ``none`` starts from random weights.
        resume: A checkpoint of this very training to go on from, or ``auto`` for the latest in the work directory,
            where there is one.
        auto_scale_lr: Whether to scale the learning rate by the batch size over the config's base batch size.

    Raises:
        UserError: If data, or the checkpoint to start or resume from, are missing, if ``pretrained`` comes beside
            such a checkpoint, or if the work directory cannot be written to.
    """
    loaders = [name for name in ('train_dataloader', 'val_dataloader') if cfg.get(name)]
    _check_data(cfg, loaders)
    check_monitored(cfg)
    _make_folder('the work directory', cfg.work_dir)
    config.add_hook(cfg, type='ZeroLossHook')
    load_from = cfg.get('load_from')
    if cfg.get('resume') and resume is None:  # by --cfg-options, as MMEngine has it
        resume = load_from or 'auto'
    whole = f'--resume {resume}' if resume not in (None, 'auto') else load_from and f'load_from={load_from}'
    if pretrained is not None and whole:
        raise UserError(
            f'{whole} is a checkpoint of the whole model, backbone included, so nothing would come of --pretrained '
            f'{pretrained}; give one of the two.'
        )
    start = None if resume is None else _checkpoint_to_resume(cfg.work_dir, resume)
    cfg.resume = start is not None
    cfg.load_from = str(start or locate(load_from)) if start or load_from else None
    if cfg.load_from:
        config.set_pretrained(cfg, 'none')  # the checkpoint holds the backbone too
    elif pretrained is not None:
        cfg.adapted = [*cfg.get('adapted', []), *config.set_pretrained(cfg, _backbone_weights(pretrained))]
    if auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise UserError('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config.')
        cfg.auto_scale_lr.enable = True
    check_weights(cfg.model)


def configure_test(
    cfg: Config,
    checkpoint: str,
    *,
    fuse: str | None = None,
    tta: bool = False,
    out: str | None = None,
    show_dir: str | None = None,
) -> None:
    """Adds to a config of :func:`prepare` what only testing needs.

    Args:
        cfg: Changed in place.
        checkpoint: Of a whole detector or segmentor; see :func:`mmconvnext.checkpoints.locate.locate`.
        fuse: What to compute the backbone's blocks in, with weights folded and packed: ``fp32`` or ``bf16``; None
            leaves the weights as they are.
        tta: Whether to test with the config's test-time augmentation.
        out: Where to write the results: for a detector a pickle file, which takes the place of one that is there once
            it is whole; for a segmentor a folder of label maps.
        show_dir: A folder for pictures, ground truth on the left and result on the right.

    Raises:
        UserError: If data or checkpoint are missing, if the config has no test-time augmentation, or if a folder
            cannot be written to.
    """
    segmentation = config.is_segmentation(cfg)
    if not cfg.get('test_dataloader'):
        raise UserError('the config has no test_dataloader, so there is nothing to test on.')
    _check_data(cfg, ('test_dataloader',))
    config.set_pretrained(cfg, 'none')  # the checkpoint holds the whole model
    cfg.load_from, cfg.resume = str(locate(checkpoint)), False
    _make_folder('the work directory', cfg.work_dir)
    _name_label_maps(cfg)
    if out and segmentation:
        _write_label_maps(cfg, out)
    elif out:
        _write_detections(cfg, Path(out))
    if show_dir:
        _make_folder('--show-dir', show_dir)
        config.add_hook(cfg, type='ResultPicturesHook', folder=show_dir)
    if fuse:
        config.add_hook(cfg, type='DeployHook', dtype=fuse)
    if tta:
        config.set_tta(cfg)


def latest_checkpoint(work_dir: Path) -> Path | None:
    """The newest checkpoint in a work directory; None if there is none."""
    return next(iter(checkpoints_in(work_dir)), None)


def checkpoints_in(work_dir: Path) -> list[Path]:
    """The checkpoints of a training, newest first.

    The first is the one that MMEngine noted last, in a folder which may have been moved since.
    """
    numbered = [(int(found[1]), path) for path in work_dir.glob('*.pth') if (found := NUMBERED.fullmatch(path.name))]
    paths = [path for _, path in sorted(numbered, reverse=True)]
    note = work_dir / 'last_checkpoint'
    if note.is_file():
        noted = Path(note.read_text().strip())
        paths = [path for path in (work_dir / noted.name, noted) if path.is_file()][:1] + paths
    return list(dict.fromkeys(paths))


def _check_data(cfg: Config, loaders: Sequence[str]) -> None:
    """Checks the data, says what was found, and lets the config read sound copies of files whose meaning is certain.

    Of several processes, which are joined here, the first does it for all.
    """
    processes.join(cfg)
    point_at_copies(cfg, processes.first(lambda: _copies(cfg, loaders)))


def _copies(cfg: Config, loaders: Sequence[str]) -> dict[str, str]:
    """Returns the sound copy of each annotation file that needs one, by absolute paths."""
    with building('the data'):
        checked = check_data(cfg, loaders, config.is_segmentation(cfg))
    if table := checked.findings.table():
        print(f'the data:\n{table}', flush=True)
    checked.findings.refuse()
    if not checked.mends:
        return {}
    folder = Path(cfg.work_dir) / 'mended'
    _make_folder('the folder of mended annotation files', folder)
    copies = {path: write_copy(path, mends, folder) for path, mends in checked.mends.items()}
    print(f'what is read as meant is read from copies in {folder}; the files stay as they are', flush=True)
    return copies


def _name_label_maps(cfg: Config) -> None:
    """Lets a hook write the label maps of an IoUMetric, which writes images of the same name over each other.

    An IoUMetric that only writes is left out then: it fails without a folder.
    """
    kept = []
    for evaluator in _evaluators(cfg):
        folder = evaluator.get('output_dir') if evaluator.get('type') == 'IoUMetric' else None
        if folder is not None:
            _make_folder('output_dir of test_evaluator', folder)
            config.add_hook(cfg, type='LabelMapsHook', folder=folder)
            evaluator.output_dir = None
        if folder is None or not evaluator.get('format_only'):
            kept.append(evaluator)
    cfg.test_evaluator = kept


def _write_label_maps(cfg: Config, out: str) -> None:
    if Path(out).suffix in ('.pkl', '.pickle', '.json'):
        raise UserError(f'--out {out}: a segmentor writes a label map for each image, so give the name of a folder.')
    _make_folder('--out', out)
    config.add_hook(cfg, type='LabelMapsHook', folder=out)


def _write_detections(cfg: Config, out: Path) -> None:
    if out.suffix not in ('.pkl', '.pickle') or out.is_dir():
        raise UserError(f'--out {out}: detections are written as a pickle file; give a name that ends in .pkl.')
    _make_folder('--out: the folder', out.parent)
    unfinished = str(out.with_suffix('.unfinished.pkl'))
    cfg.test_evaluator = [*_evaluators(cfg), dict(type='DumpDetResults', out_file_path=unfinished)]
    config.add_hook(cfg, type='FinishedFileHook', unfinished=unfinished, finished=str(out))


def _evaluators(cfg: Config) -> list[ConfigDict]:
    given = cfg.test_evaluator
    return list(given) if isinstance(given, list | tuple) else [given]


def _make_folder(what: str, folder: str | Path) -> None:
    """Makes a folder if need be, before hours of work are to end in it."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'{what} {folder} cannot be made: {error.strerror}.') from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f'{what} {folder} cannot be written to: permission denied.')


def _backbone_weights(pretrained: str) -> str:
    if not pretrained.strip():
        raise UserError('--pretrained is empty; give a path, an address or a name, or none for random weights.')
    return 'none' if pretrained.lower() == 'none' else pretrained


def _checkpoint_to_resume(work_dir: str, resume: str) -> Path | None:
    if resume != 'auto':
        path = Path(resume).expanduser()
        if path.is_dir():
            raise UserError(f'--resume: {path} is a folder; give the checkpoint file in it.')
        if not path.is_file():
            raise UserError(f'--resume: there is no checkpoint {path}.')
        return path
    paths = checkpoints_in(Path(work_dir))
    if not paths:
        print(f'--resume auto: {work_dir} has no checkpoint yet, so training starts from the beginning')
        return None
    damages = []
    for path in paths:
        try:
            check_file(path, on_every_rank=True)  # all must choose the same
        except CheckpointError as error:  # cut off when the machine went down, or the disk was full
            damages.append(str(error))
            print(f'--resume auto: {path.name} is passed over: {error.facts.get("reason", error)}')
        else:
            if damages:
                print(f'--resume auto: training goes on from {path.name}')
            return path
    raise UserError(
        f'--resume auto: none of the {len(paths)} checkpoints in {work_dir} can be read:\n    '
        + '\n    '.join(damages)
        + '\nTo train from the beginning, leave --resume out.',
        passed_over=paths,
    )
