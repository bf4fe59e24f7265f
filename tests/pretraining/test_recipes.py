"""The configs of pre-training have the authors' recipe, and every size its row."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope

from tests.conftest import ROOT

SIZES = ('atto', 'femto', 'pico', 'nano', 'tiny', 'base', 'large', 'huge')


def config(size: str) -> Config:
    cfg = Config.fromfile(ROOT / f'configs/pretraining/fcmae_convnextv2_{size}_1600e.py')
    init_default_scope(cfg.default_scope)
    return cfg


@pytest.mark.parametrize('size', SIZES)
def test_network_is_what_the_name_says(size: str) -> None:
    cfg = config(size)
    assert (cfg.model.type, cfg.model.backbone.arch, cfg.model.backbone.version) == ('FCMAE', size, 2)
    with torch.device('meta'):
        assert MODELS.build(cfg.model).mask_ratio == 0.6


def test_every_size_of_the_paper_has_a_config() -> None:
    names = {path.stem for path in (ROOT / 'configs/pretraining').glob('*.py')}
    assert names == {f'fcmae_convnextv2_{size}_1600e' for size in SIZES}


def test_schedule_is_the_papers() -> None:
    """arXiv 2301.00808, table 8: learning rate 1.5e-4 for 256 images, batch 4096, 40 of 1600 epochs of warm-up."""
    cfg = config('tiny')
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(2.4e-3)
    assert (cfg.optim_wrapper.optimizer.betas, cfg.optim_wrapper.optimizer.weight_decay) == ((0.9, 0.95), 0.05)
    batch = cfg.train_dataloader.batch_size * cfg.optim_wrapper.accumulative_counts * 8
    assert batch == cfg.auto_scale_lr.base_batch_size == 4096
    warmup, cosine = cfg.param_scheduler
    assert (warmup.end, cosine.begin, cosine.end, cfg.train_cfg.max_epochs) == (40, 40, 1600, 1600)


def test_weight_decay_is_that_of_the_authors_code() -> None:
    """Not of vectors that are biases or LayerNorm's; but of GRN's, and of the mask token."""
    cfg = config('atto')
    cfg.optim_wrapper.optimizer.fused = False
    toy = dict(depths=(1, 1, 1, 1), widths=(8, 8, 8, 8))
    model = MODELS.build(dict(cfg.model, backbone=dict(cfg.model.backbone, arch=toy)))
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    decays = {id(p): group['weight_decay'] for group in optimizer.param_groups for p in group['params']}
    for name, parameter in model.named_parameters():
        plain = name.endswith('.bias') or 'norm.weight' in name or name.endswith(('layers.0.1.weight',))
        plain |= any(name == f'encoder.downsample_layers.{i}.0.weight' for i in (1, 2, 3))
        assert decays[id(parameter)] == (0.0 if plain else 0.05), name


def test_rate_decays_to_0_over_whatever_length_is_set() -> None:
    """With a period of its own the cosine would not follow: a shorter training kept the whole rate to its end."""
    cosine = config('tiny').param_scheduler[1]
    cosine.update(begin=1, end=5, convert_to_iter_based=False)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = PARAM_SCHEDULERS.build(dict(cosine, optimizer=optimizer))
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([1, 1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5])
