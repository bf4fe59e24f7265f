"""Every recipe has its row of the papers' tables, and each parameter the learning rate of it, step by step.

The tables are written down here by hand: arXiv 2201.03545, tables 5 and 6, with TRAINING.md and README.md of
facebookresearch/ConvNeXt; arXiv 2301.00808, tables 9 to 13, with TRAINING.md and optim_factory.py of
facebookresearch/ConvNeXt-V2.
"""

import math
import re
from typing import NamedTuple

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope
from mmengine.structures import BaseDataElement

from mmconvnext.backbones import ARCHS
from mmconvnext.checkpoints.manifest import MANIFEST
from tests.classification.test_transforms import CONFIGS, LETTERS, read
from tests.conftest import ROOT


class Row(NamedTuple):
    """What the tables say; batches are of all GPUs and accumulated steps."""

    epochs: int
    warmup: int
    batch: int
    lr: float
    weight_decay: float
    decay: float
    decay_type: str
    drop_path: float
    mixup: float
    cutmix: float
    smoothing: float
    ema: bool
    start: str | None
    classes: int = 1000


def rows() -> dict[str, Row]:
    table = {}
    for letter, drop in dict(t=0.1, s=0.4, b=0.5, l=0.5).items():
        row = Row(300, 20, 4096, 4e-3, 0.05, 1.0, 'layer_wise', drop, 0.8, 1.0, 0.1, True, None)
        table[f'convnext_{letter}_in1k_300e'] = row
    for letter, drop, start in (('b', 0.8, 'in1k'), ('l', 0.95, 'in1k_ema')):
        start = f'convnext_{LETTERS[letter]}.{start}'
        row = Row(30, 0, 512, 5e-5, 1e-8, 0.7, 'layer_wise', drop, 0, 0, 0.1, False, start)
        table[f'convnext_{letter}_in1k_384_30e'] = row
    for letter, drop, drop_ft in (('t', 0, 0), ('s', 0, 0.1), ('b', 0.1, 0.2), ('l', 0.1, 0.3), ('xl', 0.2, 0.4)):
        row = Row(90, 5, 4096, 4e-3, 0.05, 1.0, 'layer_wise', drop, 0.8, 1.0, 0.1, False, None, 21841)
        table[f'convnext_{letter}_in22k_90e'] = row
        start = f'convnext_{LETTERS[letter]}.in22k'
        row = Row(30, 0, 512, 5e-5, 1e-8, 0.8, 'layer_wise', drop_ft, 0, 0, 0.1, letter == 'xl', start)
        table |= {f'convnext_{letter}_in22k_ft_in1k{side}_30e': row for side in ('', '_384')}

    # Base learning rate for 256 images, weight decay, epochs, warm-up, decay, smoothing, mixing, drop path
    after_fcmae = dict(
        a=(2e-4, 0.3, 600, 0, 0.9, 'single', 0.2, 0.0, 0.0, 0.1),
        f=(2e-4, 0.05, 600, 0, 0.9, 'single', 0.2, 0.3, 0.3, 0.0),
        p=(2e-4, 0.3, 600, 0, 0.9, 'single', 0.2, 0.3, 0.3, 0.0),
        n=(2e-4, 0.3, 600, 0, 0.9, 'single', 0.2, 0.5, 0.5, 0.1),
        t=(8e-4, 0.05, 300, 40, 0.9, 'single', 0.1, 0.8, 1.0, 0.2),
        b=(6.25e-4, 0.05, 100, 20, 0.6, 'layer_wise', 0.1, 0.8, 1.0, 0.1),
        l=(6.25e-4, 0.05, 100, 20, 0.6, 'layer_wise', 0.1, 0.8, 1.0, 0.2),
        h=(1.25e-4, 0.05, 50, 10, 0.75, 'layer_wise', 0.1, 0.8, 1.0, 0.3),
    )
    for letter, (base, wd, epochs, warmup, decay, kind, smoothing, mixup, cutmix, drop) in after_fcmae.items():
        start = f'convnextv2_{LETTERS[letter]}.fcmae'
        row = Row(epochs, warmup, 1024, base * 4, wd, decay, kind, drop, mixup, cutmix, smoothing, True, start)
        table[f'convnextv2_{letter}_fcmae_ft_in1k_{epochs}e'] = row
    # Decay type, then decay and drop path of ImageNet-22K and of ImageNet-1K, and the epochs of the latter
    through_22k = dict(
        n=('single', 0.9, 0.0, 0.9, 0.1, 90),
        t=('single', 0.9, 0.0, 0.9, 0.1, 90),
        b=('layer_wise', 0.8, 0.1, 0.8, 0.2, 30),
        l=('layer_wise', 0.8, 0.1, 0.8, 0.3, 30),
        h=('layer_wise', 0.8, 0.3, 0.85, 0.5, 30),
    )
    for letter, (kind, decay, drop, decay_1k, drop_1k, epochs) in through_22k.items():
        start = f'convnextv2_{LETTERS[letter]}.fcmae'
        row = Row(90, 5, 4096, 4e-3, 0.05, decay, kind, drop, 0.8, 1.0, 0.1, False, start, 21841)
        table[f'convnextv2_{letter}_fcmae_ft_in22k_90e'] = row
        start = f'work_dirs/convnextv2_{letter}_fcmae_ft_in22k_90e/epoch_90.pth'
        row = Row(epochs, 0, 512, 5e-5, 1e-8, decay_1k, kind, drop_1k, 0, 0, 0.1, letter != 'h', start)
        for side in ('_384', '_512') if letter == 'h' else ('', '_384'):
            table[f'convnextv2_{letter}_fcmae_ft_in22k_in1k{side}_{epochs}e'] = row
    return table


def load(name: str) -> Config:
    cfg = read(ROOT / f'configs/classification/{name}.py')
    init_default_scope(cfg.default_scope)
    cfg.optim_wrapper.type = 'OptimWrapper'
    cfg.optim_wrapper.optimizer.fused = False
    return cfg


def test_every_row_has_a_config() -> None:
    assert {path.stem for path in CONFIGS} == set(rows())


@pytest.mark.parametrize('name', rows())
def test_recipe_is_its_row(name: str) -> None:
    row, cfg = rows()[name], load(name)
    *warmup, cosine = cfg.param_scheduler
    lr = cfg.optim_wrapper.optimizer.lr
    assert cfg.train_cfg.max_epochs == cosine.end == row.epochs
    assert sum(part.end for part in warmup) == cosine.begin == row.warmup
    assert cosine.eta_min_ratio * lr == pytest.approx(1e-6)
    batch = 8 * cfg.train_dataloader.batch_size * cfg.optim_wrapper.get('accumulative_counts', 1)
    assert batch == cfg.auto_scale_lr.base_batch_size == row.batch
    assert cfg.train_dataloader.batch_size % 2 == 0
    assert cfg.train_dataloader.drop_last
    assert lr == pytest.approx(row.lr)
    assert (cfg.optim_wrapper.optimizer.weight_decay, cfg.optim_wrapper.optimizer.betas) == (
        row.weight_decay,
        (0.9, 0.999),
    )
    paramwise = cfg.optim_wrapper.paramwise_cfg
    assert (paramwise.decay_rate, paramwise.get('decay_type', 'layer_wise')) == (row.decay, row.decay_type)
    mixup = cfg.model.get('mixup') or dict(mixup_alpha=0, cutmix_alpha=0)
    assert (mixup['mixup_alpha'], mixup['cutmix_alpha']) == (row.mixup, row.cutmix)
    if row.mixup:
        assert (mixup.prob, mixup.switch_prob, mixup.mode) == (1.0, 0.5, 'batch')
    assert cfg.model.label_smoothing == row.smoothing
    assert [hook.momentum for hook in cfg.custom_hooks if hook.type == 'StepEMAHook'] == [1e-4] * row.ema
    net, letter = name.split('_')[:2]
    backbone = cfg.model.backbone
    assert (backbone.arch, backbone.get('version', 1)) == (LETTERS[letter], 2 if net == 'convnextv2' else 1)
    assert backbone.get('drop_path_rate', 0.0) == row.drop_path
    assert backbone.num_classes == row.classes
    assert backbone.get('layer_scale_init_value') is None  # 1e-6 in V1
    start = cfg.load_from or (backbone.get('init_cfg') or {}).get('checkpoint')
    assert start == row.start
    if start:
        assert backbone.head_init_scale == 0.001
        assert start in MANIFEST or start.removeprefix('work_dirs/').split('/')[0] in rows()
    else:
        assert backbone.get('head_init_scale', 1.0) == 1.0


def steps_to_head(name: str, size: str, decay_type: str) -> int:
    """N + 1 - layer by the authors' rules, written case by case."""
    depths = ARCHS[size].depths
    part, *rest = name.removeprefix('backbone.').split('.')
    if part in ('norm', 'head'):
        return 0
    stage = int(rest[0])
    if decay_type == 'single':
        block = int(rest[1]) if part == 'stages' else 0
        return sum(depths) + 1 - (sum(depths[:stage]) + block + 1)
    assert depths[2] == 27
    if part == 'downsample_layers':
        return 13 - {0: 0, 1: 2, 2: 3, 3: 12}[stage]
    return 13 - {0: 1, 1: 2, 2: 3 + int(rest[1]) // 3, 3: 12}[stage]


@pytest.mark.parametrize('name', [name for name in rows() if re.fullmatch(r'convnextv2_\w+_fcmae_ft_in1k_\d+e', name)])
def test_five_steps_have_the_recipes_rate_of_every_parameter(name: str) -> None:
    """In five epochs of one step each, two of them warm-up where there is one, on the meta device."""
    row, cfg = rows()[name], load(name)
    size = cfg.model.backbone.arch
    warmup = 2 if row.warmup else 0
    with torch.device('meta'):
        model = MODELS.build(cfg.model).train()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    schedules = []
    for part in cfg.param_scheduler:
        part.update(begin=min(part.begin, warmup), end=5 if part.end == row.epochs else warmup)
        part = dict(part, optimizer=wrapper.optimizer)
        assert part.pop('convert_to_iter_based')
        build = PARAM_SCHEDULERS.get(part.pop('type')).build_iter_from_epoch
        schedules.append(build(epoch_length=1, **part))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    samples = [BaseDataElement(metainfo=dict(gt_label=label)) for label in (3, 7)]
    for step in range(5):
        if step < warmup:
            factor = max(1e-6, step / (warmup - 1))
        else:
            floor = 1e-6 / row.lr
            factor = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (5 - warmup)))
        seen = {}
        for group in wrapper.optimizer.param_groups:
            for parameter in group['params']:
                of = names[id(parameter)]
                seen[of] = group['lr']
                undecayed = parameter.ndim == 1 or of.endswith(('.bias', '.gamma', '.beta'))
                assert group['weight_decay'] == (0 if undecayed else row.weight_decay), of
        assert seen.keys() == set(names.values())
        for of, lr in seen.items():
            expected = row.lr * factor * row.decay ** steps_to_head(of, size, row.decay_type)
            assert lr == pytest.approx(expected, rel=1e-6), (step, of)
        if size == 'atto' and step < 2:  # an update of the others takes a second on the meta device
            loss = model(torch.empty(2, 3, 64, 96, device='meta'), samples, mode='loss')['loss']
            loss.backward()
        wrapper.optimizer.step()
        for schedule in schedules:
            schedule.step()


def test_layers_of_single_are_the_blocks() -> None:
    """optim_factory.py: 18 in tiny, 12 in atto, femto and pico, 14 in nano; the stem is in the layer of block 1."""
    counts = {size: sum(ARCHS[size].depths) for size in ('atto', 'femto', 'pico', 'nano', 'tiny')}
    assert counts == dict(atto=12, femto=12, pico=12, nano=14, tiny=18)
    assert 0.9 ** steps_to_head('backbone.downsample_layers.0.0.weight', 'tiny', 'single') == pytest.approx(
        0.150, abs=5e-4
    )
    assert steps_to_head('backbone.stages.3.2.dwconv.weight', 'tiny', 'single') == 1
