"""Accuracies against torch.topk, what is left out of them, and what stands beside them."""

import math
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
from mmengine.logging import MMLogger
from timm.data import ImageNetInfo

from mmconvnext.classification import PublishedAccuracyHook, TopKAccuracy


def sample(logits: torch.Tensor, label: int, **skipped: str) -> dict:
    return dict(logits=logits, gt_label=label, skipped=skipped)


def test_accuracies_and_loss_are_those_of_torch() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(50, 10), torch.randint(10, (50,))
    metric = TopKAccuracy()
    for start in (0, 30):
        end = start + 30
        metric.process(None, [sample(x, y) for x, y in zip(logits[start:end], labels[start:end].tolist())])
    measured = metric.evaluate(50)
    for k in (1, 5):
        expected = (logits.topk(k).indices == labels[:, None]).any(1).float().mean().item()
        assert measured[f'top-{k}'] == pytest.approx(100 * expected)
    assert 5 < measured['top-1'] < measured['top-5'] < 70
    assert measured['cross_entropy'] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item())


def test_a_model_that_tells_nothing_apart_is_never_right() -> None:
    metric = TopKAccuracy()
    metric.process(None, [sample(torch.zeros(10), 0), sample(torch.full((10,), math.nan), 0)])
    measured = metric.evaluate(2)
    assert (measured['top-1'], measured['top-5']) == (0, 0)


def test_top_5_of_five_classes_is_left_out() -> None:
    metric = TopKAccuracy()
    metric.process(None, [sample(torch.eye(5)[2], 2)])
    assert metric.evaluate(1).keys() == {'top-1', 'cross_entropy'}


def test_images_that_cannot_be_read_are_counted_named_and_left_out(capsys: pytest.CaptureFixture) -> None:
    MMLogger.get_instance('accuracy_test', log_level='INFO')
    metric = TopKAccuracy()
    right, wrong = torch.eye(10)[1], torch.eye(10)[2]
    metric.process(None, [sample(right, 1), sample(wrong, 1), sample(right, 1, **{'a/b.JPEG': 'a/b.JPEG is cut off'})])
    measured = metric.evaluate(3)
    assert (measured['top-1'], measured['unreadable']) == (50, 1)
    assert 'a/b.JPEG is cut off' in capsys.readouterr().out


class Log:
    def __init__(self) -> None:
        self.infos: list[str] = []
        self.warnings: list[str] = []
        self.info, self.warning = self.infos.append, self.warnings.append


def evaluated(checkpoint: str, side: int, images: int, classes: list[str], top1: float) -> Log:
    dataset = MagicMock(metainfo=dict(classes=classes), __len__=lambda _: images)
    runner = SimpleNamespace(logger=Log(), test_dataloader=SimpleNamespace(dataset=dataset))
    hook = PublishedAccuracyHook(checkpoint)
    hook.before_test(runner)
    hook.after_test_iter(runner, 0, dict(inputs=torch.zeros(2, 3, side, side)))
    hook.after_test_epoch(runner, {'top-1': top1})
    return runner.logger


def test_the_published_accuracy_stands_beside_the_one_that_was_reached() -> None:
    synsets = ImageNetInfo().label_names()
    for name in ('convnext_tiny.in1k_ema', 'a/convnext_tiny_1k_224_ema.pth'):
        log = evaluated(name, 224, 50_000, synsets, 82.066)
        assert log.warnings == []
        (line,) = log.infos
        assert all(part in line for part in ('82.066', '82.1', '-0.034'))
    log = evaluated('convnextv2_huge.fcmae_ft_in22k_in1k_512', 384, 49_000, synsets, 88.0)
    assert len(log.warnings) == 2
    assert '49000' in log.warnings[0]
    assert '512' in log.warnings[1]


def test_folders_that_are_no_synsets_are_told() -> None:
    names = [f'class_{number}' for number in range(1000)]
    log = evaluated('convnext_tiny.in1k_ema', 224, 50_000, names, 0.1)
    (warning,) = log.warnings
    assert 'class_0' in warning
    assert 'n01440764' in warning


def test_of_other_weights_nothing_is_said() -> None:
    log = evaluated('work_dirs/own/epoch_3.pth', 224, 40, ['a', 'b'], 50.0)
    assert log.infos == log.warnings == []
    log = evaluated('convnext_tiny.in1k', 224, 50_000, ImageNetInfo().label_names(), 81.9)
    assert len(log.infos) == 1
    assert '%' not in log.infos[0]
