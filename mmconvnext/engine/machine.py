"""Adapts a config to what this machine has, in this one place."""

import os

import torch
from mmengine.config import Config, ConfigDict

from mmconvnext.engine.tree import walk

# MMEngine's default wrapper pins each process to a GPU
CPU_MODEL_WRAPPER = dict(
    type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False, find_unused_parameters=False
)
AMP_DTYPES = {'fp16': 'float16', 'bf16': 'bfloat16'}


def adapt(cfg: Config, amp: str = 'auto') -> None:
    """Rewrites ``cfg`` in place for this machine, and notes in ``cfg.adapted`` what differs for it.

    Args:
        cfg: A whole config, its ``launcher`` included.
        amp: Mixed precision: ``auto`` as the config says where there is a GPU, ``fp16``, ``bf16`` or ``off``.

    Raises:
        ValueError: If mixed precision or Slurm is asked for and there is no GPU, or the GPU has no bfloat16.
    """
    has_gpu = torch.cuda.is_available()
    optim_wrapper = cfg.get('optim_wrapper') or ConfigDict()  # a config may be there for tests only
    notes = []
    if amp in AMP_DTYPES:
        if not has_gpu:
            raise ValueError(f'--amp {amp} needs a GPU, and PyTorch finds none here; use --amp off, or auto.')
        if amp == 'bf16' and not torch.cuda.is_bf16_supported():
            raise ValueError(f'--amp bf16: {torch.cuda.get_device_name()} has no bfloat16; use --amp fp16 or off.')
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

    if not has_gpu:
        sync_bn = [node for node in walk(cfg.model) if node.get('type') == 'SyncBN']
        for node in sync_bn:
            node.type = 'BN'
        if sync_bn:
            notes.append('no GPU: BN in place of SyncBN')
        cfg.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})
        if cfg.launcher == 'slurm':
            raise ValueError('--launcher slurm needs GPUs; on machines without, start torchrun and --launcher pytorch.')
        if cfg.launcher == 'pytorch':
            cfg.model_wrapper_cfg = CPU_MODEL_WRAPPER

    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    loaders = [cfg[key] for key in ('train_dataloader', 'val_dataloader', 'test_dataloader') if cfg.get(key)]
    most = max((loader.get('num_workers', 0) for loader in loaders), default=0)
    if most > cores:
        for loader in loaders:
            loader.num_workers = min(loader.get('num_workers', 0), cores)
        notes.append(f'{cores} cores: {cores} data workers in place of {most}')
    for loader in loaders:
        if not loader.get('num_workers'):  # PyTorch refuses to keep workers that are none
            loader.persistent_workers = False
    cfg.adapted = notes
