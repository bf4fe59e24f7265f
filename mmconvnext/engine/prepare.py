"""Makes a config ready to train or test on this machine and this data, or says what is wrong with the request."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import find_latest_checkpoint

from mmconvnext.checkpoints.locate import locate
from mmconvnext.datasets.checks import check_data
from mmconvnext.engine import config, machine
from mmconvnext.engine.follow import check_weights
from mmconvnext.engine.scale_down import scale_down


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
        ValueError: If anything asked for is unknown, contradictory or cannot be had.
    """
    if use_mini and data_root:
        raise ValueError('--mini makes its own data, so --data-root has nothing to point at; give one of the two.')
    cfg = config.read_config(path)
    asked = config.as_tree(cfg_options)
    if use_mini:
        scale_down(cfg, config.MINI_ROOT, asked)
    elif data_root:
        config.set_data_root(cfg, Path(data_root).expanduser())
    config.set_options(cfg, asked)
    work_dir = work_dir or cfg.get('work_dir') or f'work_dirs/{Path(path).stem}{"_mini" if use_mini else ""}'
    cfg.work_dir = str(Path(work_dir).expanduser())
    cfg.launcher = launcher
    if seed is not None:
        cfg.randomness = dict(cfg.get('randomness', {}), seed=seed)
    cfg.run_hooks = [dict(type='ProgressBarHook')]
    machine.adapt(cfg, amp)
    return cfg


def configure_training(
    cfg: Config, *, pretrained: str | None = None, resume: str | None = None, auto_scale_lr: bool = False
) -> None:
    """Adds to a config of :func:`prepare` what only training needs.

    Args:
        cfg: Changed in place.
        pretrained: Checkpoint of the backbone, in place of the config's; ``none`` starts from random weights.
        resume: A checkpoint of this very training to go on from, or ``auto`` for the latest in the work directory.
        auto_scale_lr: Whether to scale the learning rate by the batch size over the config's base batch size.

    Raises:
        ValueError: If data, or the checkpoint to resume from, are missing.
    """
    loaders = [name for name in ('train_dataloader', 'val_dataloader') if cfg.get(name)]
    check_data(cfg, tuple(loaders), config.is_segmentation(cfg))
    if pretrained is not None:
        config.set_pretrained(cfg, pretrained)
    elif cfg.load_from:
        config.set_pretrained(cfg, 'none')  # the checkpoint holds the backbone too
    if resume is not None:
        _resume(cfg, resume)
    if auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ValueError('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config.')
        cfg.auto_scale_lr.enable = True
    check_weights(cfg.model)


def configure_test(
    cfg: Config, checkpoint: str, *, tta: bool = False, out: str | None = None, show_dir: str | None = None
) -> None:
    """Adds to a config of :func:`prepare` what only testing needs.

    Args:
        cfg: Changed in place.
        checkpoint: Of a whole detector or segmentor; see :func:`mmconvnext.checkpoints.locate.locate`.
        tta: Whether to test with the config's test-time augmentation.
        out: Where to write the results: for a detector a pickle file, for a segmentor a folder of label maps.
        show_dir: A folder for pictures, ground truth on the left and result on the right.

    Raises:
        ValueError: If data or checkpoint are missing, or the config has no test-time augmentation.
    """
    segmentation = config.is_segmentation(cfg)
    if not cfg.get('test_dataloader'):
        raise ValueError('the config has no test_dataloader, so there is nothing to test on.')
    check_data(cfg, ('test_dataloader',), segmentation)
    config.set_pretrained(cfg, 'none')  # the checkpoint holds the whole model
    cfg.load_from, cfg.resume = str(locate(checkpoint)), False
    if out and segmentation:
        cfg.test_evaluator.output_dir = out
    elif out:
        if not out.endswith(('.pkl', '.pickle')):
            raise ValueError(f'--out {out}: detections are written as a pickle file; give a name that ends in .pkl.')
        cfg.test_evaluator = [cfg.test_evaluator, dict(type='DumpDetResults', out_file_path=out)]
    if show_dir:
        config.add_hook(cfg, type='ResultPicturesHook', folder=show_dir)
    if tta:
        config.set_tta(cfg)


def _resume(cfg: Config, resume: str) -> None:
    checkpoint = find_latest_checkpoint(cfg.work_dir) if resume == 'auto' else resume
    if checkpoint is None:
        print(f'--resume auto: {cfg.work_dir} has no checkpoint yet, so training starts from the beginning')
        return
    if not Path(checkpoint).is_file():
        raise ValueError(f'--resume: there is no checkpoint {checkpoint}.')
    config.set_pretrained(cfg, 'none')  # the checkpoint holds the backbone too
    cfg.resume, cfg.load_from = True, str(checkpoint)
