"""A whole fine-tuning of a toy: averaged weights, broken images, resuming, and the evaluation of what it leaves."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmconvnext.config.prepare import Prepared, prepare, prepare_test, prepare_training
from mmconvnext.runner.run import build_tester, build_trainer, evaluate, train
from tests.classification.conftest import ARCH, CLASSES
from tests.conftest import ROOT

RECIPE = str(ROOT / 'configs/classification/convnextv2_a_fcmae_ft_in1k_600e.py')


@pytest.fixture
def folder(tmp_path: Path, write_folders: Callable) -> Path:
    """Seven classes with an image of each split that is cut off."""
    for split in ('train', 'val'):
        write_folders(tmp_path / split)
        broken = tmp_path / split / 'bee/1.JPEG'
        broken.write_bytes(broken.read_bytes()[:300])
    return tmp_path


def prepared(folder: Path, name: str) -> Prepared:
    loaders = {
        f'{split}_dataloader.{key}': value
        for split in ('train', 'val', 'test')
        for key, value in dict(batch_size=4, num_workers=0, persistent_workers=False).items()
    }
    settings = {
        'model.backbone.arch': ARCH,
        'model.backbone.num_classes': len(CLASSES),
        'model.mixup': dict(mixup_alpha=0.8, cutmix_alpha=1.0),
        'optim_wrapper.accumulative_counts': 2,
        'train_cfg.max_epochs': 4,
        'param_scheduler.0.end': 4,
        'visualizer.name': name,
    }
    return prepare(
        RECIPE, data_root=str(folder), work_dir=str(folder / name), cfg_options=loaders | settings, seed=0, amp='off'
    )


@pytest.mark.slow
def test_a_training_averages_is_resumed_and_evaluated(folder: Path, capsys: pytest.CaptureFixture) -> None:
    run = prepared(folder, 'first')
    prepare_training(run, pretrained='none')
    runner = build_trainer(run)
    metrics = train(runner)
    printed = capsys.readouterr().out
    # Of 14 images an epoch has three batches of 4, so 4 epochs have 6 steps of two batches
    whole = torch.load(folder / 'first/epoch_4.pth', weights_only=False)
    assert whole['ema_state_dict']['steps'] == 6
    head = 'backbone.head.weight'
    assert not torch.equal(whole['state_dict'][head], whole['ema_state_dict'][f'module.{head}'])
    assert torch.equal(runner.model.state_dict()[head], whole['state_dict'][head])
    assert metrics['unreadable'] == 1
    for split in ('train', 'val'):
        assert f'{folder}/{split}/bee/1.JPEG' in printed
    assert printed.count('1 of 14 images') == 2  # said after the training, and with the accuracy
    assert len(list((folder / 'first/pictures').rglob('*.png'))) == 6

    again = prepared(folder, 'second')
    prepare_training(again, resume=str(folder / 'first/epoch_2.pth'))
    train(build_trainer(again))
    resumed = torch.load(folder / 'second/epoch_4.pth', weights_only=False)
    assert resumed['ema_state_dict']['steps'] == 6

    test = prepared(folder, 'third')
    prepare_test(test, str(folder / 'first/epoch_4.pth'))
    measured = evaluate(build_tester(test))
    for key in ('top-1', 'top-5', 'cross_entropy', 'unreadable'):
        assert measured[key] == pytest.approx(metrics[key], rel=1e-5)
