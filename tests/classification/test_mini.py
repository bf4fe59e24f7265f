"""--mini keeps the model and the augmentation of a recipe, and scales its schedule."""

from pathlib import Path

import pytest

from mmconvnext.config import mini_classification
from mmconvnext.config.prepare import prepare, prepare_training
from mmconvnext.config_tree import walk
from tests.classification.test_recipes import rows
from tests.classification.test_transforms import CONFIGS
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def _few_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mini_classification, 'TRAIN_IMAGES', 4)
    monkeypatch.setattr(mini_classification, 'VAL_IMAGES', 1)


def config(name: str) -> str:
    return str(ROOT / f'configs/classification/{name}.py')


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_can_be_scaled_down(path: Path) -> None:
    cfg = prepare(str(path), use_mini=True).cfg
    row = rows()[path.stem]
    assert cfg.model.backbone.num_classes == 5
    assert cfg.load_from is None
    assert cfg.model.backbone.get('init_cfg') is None
    (augmented,) = [node for node in walk(cfg.train_dataloader.dataset.pipeline) if node.type == 'TimmTransform']
    assert (augmented.input_size, augmented.auto_augment) == (64, 'rand-m9-mstd0.5-inc1')
    assert bool(cfg.model.get('mixup')) == bool(row.mixup)
    assert cfg.model.label_smoothing == row.smoothing
    warmup, cosine = cfg.param_scheduler
    assert (warmup.end, cosine.begin, cosine.end) == (2, 2, 10)  # an epoch is a step
    assert cfg.optim_wrapper.accumulative_counts == 1


def test_length_and_batch_of_the_user_scale_the_schedule() -> None:
    start = dict(type='ConvNeXtPretrained', checkpoint='own.pth')
    options = {'train_cfg.max_epochs': 4, 'train_dataloader.batch_size': 2, 'model.backbone.init_cfg': start}
    run = prepare(config('convnextv2_a_fcmae_ft_in1k_600e'), use_mini=True, cfg_options=options)
    warmup, cosine = run.cfg.param_scheduler
    assert (cosine.end, warmup.end) == (40, 8)
    assert run.cfg.model.backbone.init_cfg.checkpoint == 'own.pth'
    (hook,) = [hook for hook in run.cfg.custom_hooks if hook.type == 'StepEMAHook']
    assert hook.momentum == pytest.approx(1 / 20)
    assert run.cfg.train_cfg.val_interval == 1


def test_a_config_that_was_scaled_down_stays_as_it_is(tmp_path: Path) -> None:
    run = prepare(config('convnextv2_a_fcmae_ft_in1k_600e'), use_mini=True, cfg_options={'train_cfg.max_epochs': 3})
    run.cfg.dump(tmp_path / 'left.py')
    again = prepare(str(tmp_path / 'left.py'), use_mini=True)
    assert again.cfg.train_cfg == run.cfg.train_cfg
    assert again.cfg.param_scheduler == run.cfg.param_scheduler


def test_rate_is_scaled_by_the_batch_of_all_accumulated_steps() -> None:
    """MMEngine divides the batch of a backward by base_batch_size; the recipe's is that of an optimizer's step."""
    run = prepare(config('convnext_t_in1k_300e'), use_mini=True)
    run.cfg.optim_wrapper.accumulative_counts = 4
    run.cfg.auto_scale_lr.base_batch_size = 4096
    prepare_training(run, auto_scale_lr=True)
    assert run.cfg.auto_scale_lr == dict(enable=True, base_batch_size=1024)
    prepare_training(run, auto_scale_lr=True)  # of the config that it leaves
    assert run.cfg.auto_scale_lr.base_batch_size == 1024
