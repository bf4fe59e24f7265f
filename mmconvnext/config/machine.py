"""Adapts a config to this machine. No other module does."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict

from mmconvnext.config_tree import walk
from mmconvnext.errors import UserError

# Where launchers say how many processes share a machine
LOCAL_SIZES = ('LOCAL_WORLD_SIZE', 'SLURM_NTASKS_PER_NODE')
AMP_DTYPES = {'fp16': 'float16', 'bf16': 'bfloat16'}


def adapt(cfg: Config, amp: str = 'auto') -> list[str]:
    """Changes ``cfg`` in place to what this machine can run.

    Args:
        cfg: A whole config, with its ``launcher``.
        amp: Mixed precision: ``fp16``, ``bf16``, ``off``, or ``auto``, which keeps the config's if there is a GPU.

    Returns:
        A note for each change.

    Raises:
        UserError: If mixed precision or Slurm is asked for and there is no GPU, or the GPU has no bfloat16.
    """
    has_gpu = torch.cuda.is_available()
    optim_wrapper = cfg.get('optim_wrapper') or ConfigDict()  # a config may be for testing only
    notes = []
    if amp in AMP_DTYPES:
        if not has_gpu:
            raise UserError(f'--amp {amp} needs a GPU, and PyTorch finds none here; use --amp off, or auto.', amp=amp)
        if amp == 'bf16':
            _check_bfloat16('--amp bf16')
        optim_wrapper.type = 'AmpOptimWrapper'
        optim_wrapper.dtype = AMP_DTYPES[amp]
        # bfloat16 has float32's range, so there is nothing to scale
        optim_wrapper.loss_scale = 'dynamic' if amp == 'fp16' else 1.0
    elif optim_wrapper.get('type') == 'AmpOptimWrapper' and (amp == 'off' or not has_gpu):
        optim_wrapper.type = 'OptimWrapper'
        for key in ('dtype', 'loss_scale'):
            optim_wrapper.pop(key, None)
        if not has_gpu and amp != 'off':
            notes.append('no GPU: float32 in place of mixed precision')
    elif optim_wrapper.get('type') == 'AmpOptimWrapper' and optim_wrapper.get('dtype') == 'bfloat16':
        _check_bfloat16("optim_wrapper.dtype='bfloat16'")

    if not has_gpu:
        sync_bn = [node for node in walk(cfg.model) if node.get('type') == 'SyncBN']
        for node in sync_bn:
            node.type = 'BN'
        if sync_bn:
            notes.append('no GPU: BN in place of SyncBN')
        cfg.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})
        if cfg.launcher == 'slurm':
            raise UserError(
                '--launcher slurm needs GPUs; on machines without GPUs use torchrun and --launcher pytorch.',
                launcher='slurm',
            )
        if cfg.launcher == 'pytorch':
            cfg.model_wrapper_cfg = _cpu_model_wrapper(cfg)

    cores = usable_cores()
    processes = _processes_here()
    share = max(1, cores // processes)
    if not has_gpu and 'OMP_NUM_THREADS' not in os.environ:  # torchrun sets it, too
        torch.set_num_threads(share)
    loaders = [cfg[key] for key in ('train_dataloader', 'val_dataloader', 'test_dataloader') if cfg.get(key)]
    most = max((loader.get('num_workers', 0) for loader in loaders), default=0)
    if most > share:
        for loader in loaders:
            loader.num_workers = min(loader.get('num_workers', 0), share)
        shared = f' for {processes} processes' if processes > 1 else ''
        each = ' each' if processes > 1 else ''
        notes.append(f'{cores} cores{shared}: {share} data workers{each} in place of {most}')
    for loader in loaders:
        if not loader.get('num_workers'):  # PyTorch refuses persistent_workers without workers
            loader.persistent_workers = False
    return notes


def usable_cores(cgroup: Path = Path('/sys/fs/cgroup')) -> int:
    """Returns how many cores this process may use: those of its affinity, or fewer if its container has a quota.

    Args:
        cgroup: Where Linux keeps the limits of this process's control group, version 2 or 1.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    for quota in _quotas(cgroup):
        cores = min(cores, max(1, math.ceil(quota)))
    return cores


def _quotas(cgroup: Path) -> Iterator[float]:
    """Yields the quota, in cores, of each version of control groups that sets one."""
    for names in (('cpu.max',), ('cpu/cpu.cfs_quota_us', 'cpu/cpu.cfs_period_us')):
        try:
            numbers = ' '.join((cgroup / name).read_text() for name in names).split()
        except OSError:  # another version, or not Linux
            continue
        if len(numbers) == 2 and all(number.isdecimal() for number in numbers) and int(numbers[1]):
            yield int(numbers[0]) / int(numbers[1])  # 'max' or -1 stand for no quota


def _check_bfloat16(asked: str) -> None:
    """Refuses bfloat16 on a GPU without it: PyTorch emulates it there, slower than float32."""
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name()
        raise UserError(f'{asked}: {name} has no bfloat16; use --amp fp16 or --amp off.', gpu=name)


def _cpu_model_wrapper(cfg: Config) -> ConfigDict:
    """Returns the config's wrapper for several processes, or MMEngine's default one, without a GPU."""
    default = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    return ConfigDict({**(cfg.get('model_wrapper_cfg') or default), 'device_ids': None})


def _processes_here() -> int:
    """Returns how many processes the launcher started on this machine."""
    for name in LOCAL_SIZES:
        count = os.environ.get(name, '')
        if count.isdecimal() and int(count):
            return int(count)
    return 1
