"""Turns a config file, options, data and this machine into a run that is ready to start."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmconvnext.checkpoints.locate import locate
from mmconvnext.config import machine, processes
from mmconvnext.config.data_root import set_data_root
from mmconvnext.config.image_statistics import match_image_statistics
from mmconvnext.config.keywords import check_keywords, name_unknown_keywords
from mmconvnext.config.metric_names import check_monitored
from mmconvnext.config.mini_recipe import reads_from, scale_down
from mmconvnext.config.names import unread_names
from mmconvnext.config.neck_and_heads import match_backbone
from mmconvnext.config.options import Options
from mmconvnext.config.pretrained import check_weights, match_size, set_pretrained
from mmconvnext.config.reading import is_segmentation, read_config
from mmconvnext.config.resume import checkpoint_to_resume
from mmconvnext.config.sampler import match_sampler
from mmconvnext.config_tree import as_list
from mmconvnext.datasets.checks import check_data, point_at_copies
from mmconvnext.datasets.coco.mending import write_copy
from mmconvnext.errors import UserError, explain_refusals

MINI_ROOT = Path('data/mini')
MINI_HAS = ('crowds',)  # findings that the mini data has on purpose


@dataclass
class Prepared:
    """A training or test that is ready to run.

    Args:
        cfg: The config, adapted to the options, the data and this machine. MMEngine saves it in the work directory.
        hooks: Hooks of this run alone. In ``custom_hooks`` the saved config would contain them.
        notes: What differs from the config file, a sentence each.
    """

    cfg: Config
    hooks: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


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
) -> Prepared:
    """Applies options to a config and adapts it to this machine.

    Args:
        path: The config file.
        use_mini: Whether to scale the config down to the embedded mini data.
        data_root: Folder of the data, instead of the config's ``data_root``.
        work_dir: Folder for logs, checkpoints and pictures. By default ``work_dirs/<config name>``.
        cfg_options: Values to set, by dotted name. They override all else, except what this machine cannot do.
        amp: Mixed precision; see :func:`mmconvnext.config.machine.adapt`.
        seed: Seed of all random number generators. By default the config's, or one that MMEngine draws.
        launcher: ``none``, ``pytorch`` (torchrun) or ``slurm``.

    Raises:
        UserError: If an option is unknown, contradicts another, or cannot be fulfilled.
    """
    cfg, unread = configure(path, use_mini=use_mini, data_root=data_root, cfg_options=cfg_options)
    work_dir = work_dir or cfg.get('work_dir') or f'work_dirs/{Path(path).stem}{"_mini" if use_mini else ""}'
    cfg.work_dir = str(Path(work_dir).expanduser())
    cfg.launcher = launcher
    if seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    with explain_refusals('the config cannot be adapted to this machine'):
        notes = machine.adapt(cfg, amp)
    return Prepared(cfg, [dict(type='ProgressBarHook')], unread + notes)


def configure(
    path: str,
    *,
    use_mini: bool = False,
    data_root: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> tuple[Config, list[str]]:
    """Reads a config and applies options and data to it. It is the same on every machine.

    Args:
        path: As for :func:`prepare`, and so are the others.
        use_mini: Whether to scale the config down to the embedded mini data.
        data_root: Folder of the data.
        cfg_options: Values to set.

    Returns:
        The config, and a note for each setting that nothing reads.

    Raises:
        UserError: If an option is unknown, contradicts another, or cannot be fulfilled.
    """
    if use_mini and data_root:
        raise UserError('--mini makes its own data, so --data-root has no effect; give one of the two.')
    cfg = read_config(path)
    options = Options(cfg_options, cfg)
    unread = unread_names(cfg, options)
    if use_mini:
        scale_down(cfg, MINI_ROOT, options)
    elif data_root:
        set_data_root(cfg, Path(data_root).expanduser())
    with (
        name_unknown_keywords(cfg),
        explain_refusals('the config cannot be built: the backbone, and what follows from it'),
    ):
        apply_options(cfg, options)
    check_keywords(cfg)
    return cfg, unread


def load_config(path: str | Path, settings: Mapping[str, Any] | None = None) -> Config:
    """Reads a config file and applies settings by dotted name, as ``--cfg-options`` does.

    Raises:
        UserError: If the file cannot be read, or a setting does not fit.
    """
    cfg = read_config(path)
    apply_options(cfg, Options(settings, cfg))
    return cfg


def apply_options(cfg: Config, options: Options) -> None:
    """Sets the values of the options, and adapts what depends on the backbone: its weights, the neck and the heads.

    Args:
        cfg: Changed in place.
        options: What the user set.

    Raises:
        UserError: If an option does not fit the config, or neck or heads cannot use the backbone's outputs.
    """
    options.apply(cfg)
    match_size(cfg.model, options)
    match_backbone(cfg.model, options)
    match_image_statistics(cfg.model, options)
    match_sampler(cfg, options)


def prepare_training(
    run: Prepared, *, pretrained: str | None = None, resume: str | None = None, auto_scale_lr: bool = False
) -> None:
    """Checks the data of a training and chooses the weights that it starts from.

    Args:
        run: From :func:`prepare`; changed in place.
        pretrained: Checkpoint of the backbone, instead of the config's; ``none`` for random weights.
        resume: A checkpoint of this very training to resume from, or ``auto`` for the newest in the work directory if
            there is one.
        auto_scale_lr: Whether to scale the learning rate by the batch size over the config's base batch size.

    Raises:
        UserError: If data or a checkpoint are missing, if ``pretrained`` is given together with a checkpoint of the
            whole model, or if the work directory cannot be written to.
    """
    cfg = run.cfg
    _check_data(cfg, [name for name in ('train_dataloader', 'val_dataloader') if cfg.get(name)])
    check_monitored(cfg)
    _make_folder('the work directory', cfg.work_dir)
    run.hooks.append(dict(type='ZeroLossHook'))
    load_from = cfg.get('load_from')
    if cfg.get('resume') and resume is None:  # set by --cfg-options, as in MMEngine
        resume = load_from or 'auto'
    whole = f'--resume {resume}' if resume not in (None, 'auto') else load_from and f'load_from={load_from}'
    if pretrained is not None and whole:
        raise UserError(
            f'{whole} is a checkpoint of the whole model with its backbone, so --pretrained {pretrained} would have no '
            'effect; give one of the two.',
            whole=whole,
            pretrained=pretrained,
        )
    start = None if resume is None else checkpoint_to_resume(Path(cfg.work_dir), resume)
    cfg.resume = start is not None
    cfg.load_from = str(start or locate(load_from)) if start or load_from else None
    if cfg.load_from:
        set_pretrained(cfg, 'none')  # the checkpoint contains the backbone
    elif pretrained is not None:
        if not pretrained.strip():
            raise UserError('--pretrained is empty; give a path, a URL or a name, or none for random weights.')
        run.notes += set_pretrained(cfg, 'none' if pretrained.lower() == 'none' else pretrained)
    if auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise UserError('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config.')
        if not cfg.auto_scale_lr.get('enable'):  # not a config that this has changed before
            # MMEngine compares with the batch of one process times their number, whatever is accumulated for a step
            cfg.auto_scale_lr.base_batch_size /= cfg.optim_wrapper.get('accumulative_counts', 1)
        cfg.auto_scale_lr.enable = True
    check_weights(cfg.model)


def prepare_test(
    run: Prepared,
    checkpoint: str,
    *,
    fuse: str | None = None,
    tta: bool = False,
    out: str | None = None,
    show_dir: str | None = None,
) -> None:
    """Checks the data of a test, finds its checkpoint, and sets up what the test writes.

    Args:
        run: From :func:`prepare`; changed in place.
        checkpoint: Checkpoint of a whole detector or segmentor; see :func:`mmconvnext.checkpoints.locate.locate`.
        fuse: ``fp32`` or ``bf16``: folds and packs the backbone's weights, and computes it in that dtype. None leaves
            the backbone as it is.
        tta: Whether to test with the config's test-time augmentation.
        out: For a detector a pickle file of results, which replaces an existing one when it is complete. For a
            segmentor a folder of label maps.
        show_dir: A folder for pictures with the ground truth on the left and the result on the right.

    Raises:
        UserError: If data or checkpoint are missing, if the config has no test-time augmentation, or if a folder
            cannot be written to.
    """
    cfg = run.cfg
    segmentation = is_segmentation(cfg)
    if not cfg.get('test_dataloader'):
        raise UserError('the config has no test_dataloader, so there is nothing to test on.')
    _check_data(cfg, ('test_dataloader',))
    set_pretrained(cfg, 'none')  # the checkpoint contains the whole model
    cfg.load_from, cfg.resume = str(locate(checkpoint)), False
    _make_folder('the work directory', cfg.work_dir)
    cfg.test_evaluator = _without_label_maps(run)
    if out and segmentation:
        _write_label_maps(run, out)
    elif out:
        _write_detections(run, Path(out))
    if show_dir:
        _make_folder('--show-dir', show_dir)
        run.hooks.append(dict(type='ResultPicturesHook', folder=show_dir))
    if fuse:
        run.hooks.append(dict(type='DeployHook', dtype=fuse))
    if tta:
        _set_tta(cfg)


def _check_data(cfg: Config, loaders: Sequence[str]) -> None:
    """Checks the data, prints what was found, and lets the config read corrected copies of files where needed.

    If there are several processes, the first one does this for all. The process group is set up before.
    """
    processes.join(cfg)
    point_at_copies(cfg, processes.on_first(lambda: _write_copies(cfg, loaders)))


def _write_copies(cfg: Config, loaders: Sequence[str]) -> dict[str, str]:
    """Checks the data, and writes and returns the corrected copy of each annotation file that needs one.

    Keys and values are absolute paths.
    """
    with name_unknown_keywords(cfg), explain_refusals('the config cannot be built: the data'):
        checked = check_data(cfg, loaders, is_segmentation(cfg))
    designed = reads_from(cfg, MINI_ROOT) and all(finding.kind in MINI_HAS for finding in checked.findings)
    if not designed and (table := checked.findings.table()):
        print(f'the data:\n{table}', flush=True)
    checked.findings.refuse()
    if not checked.mends:
        return {}
    folder = Path(cfg.work_dir) / 'mended'
    _make_folder('the folder of corrected annotation files', folder)
    copies = {path: write_copy(path, mends, folder) for path, mends in checked.mends.items()}
    print(f'corrected copies of annotation files are in {folder}; your files are unchanged', flush=True)
    return copies


def _without_label_maps(run: Prepared) -> list[ConfigDict]:
    """Returns the test's evaluators. A hook writes the label maps of an IoUMetric that has an ``output_dir``.

    IoUMetric itself would overwrite maps where images in different folders have the same name. An IoUMetric that only
    writes label maps is left out, since it fails without a folder.
    """
    kept = []
    for evaluator in as_list(run.cfg.test_evaluator):
        folder = evaluator.get('output_dir') if evaluator.get('type') == 'IoUMetric' else None
        if folder is not None:
            _make_folder('output_dir of test_evaluator', folder)
            run.hooks.append(dict(type='LabelMapsHook', folder=folder))
            evaluator.output_dir = None
        if folder is None or not evaluator.get('format_only'):
            kept.append(evaluator)
    return kept


def _write_label_maps(run: Prepared, out: str) -> None:
    if Path(out).suffix in ('.pkl', '.pickle', '.json'):
        raise UserError(f'--out {out}: a segmentor writes a label map for each image, so give the name of a folder.')
    _make_folder('--out', out)
    run.hooks.append(dict(type='LabelMapsHook', folder=out))


def _write_detections(run: Prepared, out: Path) -> None:
    if out.suffix not in ('.pkl', '.pickle') or out.is_dir():
        raise UserError(f'--out {out}: detections are written as a pickle file; give a name that ends in .pkl.')
    _make_folder('--out: the folder', out.parent)
    unfinished = str(out.with_suffix('.unfinished.pkl'))
    run.cfg.test_evaluator = [
        *as_list(run.cfg.test_evaluator),
        dict(type='DumpDetResults', out_file_path=unfinished),
    ]
    run.hooks.append(dict(type='FinishedFileHook', unfinished=unfinished, finished=str(out)))


def _set_tta(cfg: Config) -> None:
    if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
        raise UserError(
            '--tta needs tta_model and tta_pipeline in the config. The segmentation configs have them; MMDetection '
            'cannot merge masks over augmented images, so the detection configs have none.'
        )
    if cfg.model.type == cfg.tta_model.type:  # a config saved by a test with --tta
        return
    cfg.model.test_cfg.update(cfg.get('tta_test_cfg', {}))
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)


def _make_folder(what: str, folder: str | Path) -> None:
    """Makes a folder and checks that it can be written to, before work starts whose results go there."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'{what} {folder} cannot be made: {error.strerror}.', folder=str(folder)) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f'{what} {folder} cannot be written to: permission denied.', folder=str(folder))
