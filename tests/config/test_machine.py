import pytest
import torch
from mmengine.config import Config

from mmconvnext.config import machine
from mmconvnext.config.prepare import load_config
from mmconvnext.config_tree import walk
from mmconvnext.errors import UserError


@pytest.fixture
def cfg(root):
    cfg = load_config(root / 'configs/detection/cascade_convnext_t_3x.py')
    cfg.launcher = 'none'
    return cfg


def adapt(cfg, amp='auto'):
    return machine.adapt(cfg, amp)


def norms(cfg):
    return {node.type for node in walk(cfg.model) if node.get('type') in ('BN', 'SyncBN')}


def test_without_a_gpu(cfg, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    notes = adapt(cfg)
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert norms(cfg) == {'BN'}
    assert cfg.env_cfg.dist_cfg.backend == 'gloo'
    assert [n for n in notes if 'float32' in n]
    assert [n for n in notes if 'SyncBN' in n]
    with pytest.raises(UserError) as error:
        adapt(cfg, 'bf16')
    assert error.value.facts == dict(amp='bf16')


def test_with_a_gpu(cfg, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation: True)
    monkeypatch.setattr(machine, 'usable_cores', lambda: 16)
    assert adapt(cfg) == []
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert norms(cfg) == {'SyncBN'}
    assert cfg.env_cfg.dist_cfg.backend == 'nccl'
    adapt(cfg, 'bf16')
    assert (cfg.optim_wrapper.dtype, cfg.optim_wrapper.loss_scale) == ('bfloat16', 1.0)
    adapt(cfg, 'fp16')
    assert (cfg.optim_wrapper.dtype, cfg.optim_wrapper.loss_scale) == ('float16', 'dynamic')
    adapt(cfg, 'off')
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert 'loss_scale' not in cfg.optim_wrapper


def test_float32_that_was_asked_for_is_no_adaptation(cfg, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert not [note for note in adapt(cfg, 'off') if 'float32' in note]
    assert cfg.optim_wrapper.type == 'OptimWrapper'


def test_no_workers_are_not_kept(cfg):
    cfg.train_dataloader.update(num_workers=0, persistent_workers=True)
    cfg.val_dataloader = None
    adapt(cfg)
    assert cfg.train_dataloader.persistent_workers is False
    assert cfg.test_dataloader.persistent_workers is True


def test_workers_are_no_more_than_cores(cfg, monkeypatch):
    monkeypatch.setattr(machine, 'usable_cores', lambda: 2)
    assert '2 cores: 2 data workers in place of 4' in adapt(cfg)
    assert (cfg.train_dataloader.num_workers, cfg.val_dataloader.num_workers) == (2, 2)


@pytest.mark.parametrize(
    ('files', 'expected'),
    [
        ({'cpu.max': '200000 100000\n'}, 2),
        ({'cpu.max': '150000 100000\n'}, 2),
        ({'cpu.max': '20000 100000\n'}, 1),
        ({'cpu.max': 'max 100000\n'}, 16),
        ({'cpu/cpu.cfs_quota_us': '300000\n', 'cpu/cpu.cfs_period_us': '100000\n'}, 3),
        ({'cpu/cpu.cfs_quota_us': '-1\n', 'cpu/cpu.cfs_period_us': '100000\n'}, 16),
        ({}, 16),
    ],
)
def test_the_quota_of_a_container_counts(tmp_path, monkeypatch, files, expected):
    monkeypatch.setattr(machine.os, 'sched_getaffinity', lambda pid: range(16), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine.usable_cores(tmp_path) == expected


@pytest.mark.parametrize('asked', [True, False])
def test_threads_are_as_many_as_cores_unless_the_user_says_so(cfg, monkeypatch, asked):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(machine, 'usable_cores', lambda: 8)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    if asked:
        monkeypatch.setenv('OMP_NUM_THREADS', '3')
    else:
        monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    chosen = []
    monkeypatch.setattr(torch, 'set_num_threads', chosen.append)
    adapt(cfg)
    assert chosen == ([] if asked else [4])


@pytest.mark.parametrize(('variable', 'expected'), [('LOCAL_WORLD_SIZE', 2), ('SLURM_NTASKS_PER_NODE', 2)])
def test_workers_are_shared_by_the_processes_of_a_machine(cfg, monkeypatch, variable, expected):
    monkeypatch.setattr(machine, 'usable_cores', lambda: 8)
    monkeypatch.setenv(variable, '4')
    assert '8 cores for 4 processes: 2 data workers each in place of 4' in adapt(cfg)
    assert cfg.train_dataloader.num_workers == expected
    monkeypatch.setenv(variable, '16')
    adapt(cfg)
    assert cfg.train_dataloader.num_workers == 1


@pytest.mark.parametrize('asked', [True, False])
def test_emulated_bfloat16_is_refused(cfg, monkeypatch, asked):
    """A T4 or V100 has none: PyTorch computes it by way of float32."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'Tesla T4')
    if not asked:
        cfg.optim_wrapper.dtype = 'bfloat16'
    with pytest.raises(UserError) as error:
        adapt(cfg, 'bf16' if asked else 'auto')
    assert error.value.facts['gpu'] == 'Tesla T4'
    adapt(cfg, 'fp16')


def test_the_configs_settings_of_distributed_training_count_on_a_cpu(cfg, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg.launcher = 'pytorch'
    cfg.find_unused_parameters = True
    adapt(cfg)
    assert cfg.model_wrapper_cfg.find_unused_parameters
    cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', static_graph=True, device_ids=[0])
    adapt(cfg)
    assert cfg.model_wrapper_cfg == dict(type='MMDistributedDataParallel', static_graph=True, device_ids=None)


def test_processes_on_machines_without_a_gpu(cfg, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    adapt(cfg)
    assert 'model_wrapper_cfg' not in cfg
    cfg.launcher = 'pytorch'
    adapt(cfg)
    assert cfg.model_wrapper_cfg.device_ids is None
    cfg.launcher = 'slurm'
    with pytest.raises(UserError) as error:
        adapt(cfg)
    assert error.value.facts == dict(launcher='slurm')


def test_config_without_validation_training_or_settings_of_processes(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    loader = dict(num_workers=0, persistent_workers=True)
    cfg = Config(dict(model=dict(), launcher='pytorch', test_dataloader=loader, val_dataloader=None))
    assert adapt(cfg) == []
    assert cfg.env_cfg.dist_cfg.backend == 'gloo'
    assert not cfg.test_dataloader.persistent_workers  # PyTorch refuses to keep workers that are none
    assert 'optim_wrapper' not in cfg
    cfg.optim_wrapper = dict(optimizer=dict(type='AdamW'))
    adapt(cfg)
    assert cfg.optim_wrapper == dict(optimizer=dict(type='AdamW'))
