"""The classifier against timm's, and its losses against formulas."""

import math

import numpy as np
import pytest
import timm
import torch
from mmengine.structures import BaseDataElement
from torch import nn

from mmconvnext.backbones import ConvNeXt, ConvNeXtClassifier
from mmconvnext.checkpoints import convert
from mmconvnext.classification import ImageClassifier
from mmconvnext.errors import UserError
from tests.classification.conftest import ARCH


def samples(*labels: int) -> list[BaseDataElement]:
    return [BaseDataElement(metainfo=dict(gt_label=label)) for label in labels]


def classifier(**options: object) -> ImageClassifier:
    backbone = dict(type='ConvNeXtClassifier', arch=ARCH, version=2, num_classes=5, **options.pop('backbone', {}))
    return ImageClassifier(backbone, **options)


@pytest.mark.parametrize('version', [1, 2])
def test_logits_are_timms(version: int) -> None:
    model = ConvNeXtClassifier(5, arch=ARCH, version=version).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    theirs = timm.models.convnext.ConvNeXt(
        num_classes=5,
        depths=ARCH['depths'],
        dims=ARCH['widths'],
        use_grn=version == 2,
        ls_init_value=1e-6 if version == 1 else None,
    ).eval()
    theirs.load_state_dict(convert(model.state_dict(), 'timm').state)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(model(images), theirs(images), rtol=1e-4, atol=1e-5)


def test_head_starts_as_the_authors_scale_it() -> None:
    torch.manual_seed(0)
    model = ConvNeXtClassifier(1000, head_init_scale=0.001, arch=dict(ARCH, widths=(4, 6, 8, 64)))
    assert model.head.weight.std().item() == pytest.approx(2e-5, rel=0.02)
    assert not model.head.bias.any()


def test_the_last_stage_can_be_frozen() -> None:
    """The head and the norm before it are what is left to train."""
    model = ConvNeXtClassifier(5, arch=ARCH, frozen_stages=4)
    model.train()
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        'norm.weight',
        'norm.bias',
        'head.weight',
        'head.bias',
    }


@pytest.mark.parametrize('smoothing', [0.0, 0.2])
def test_loss_without_mixing_is_the_smoothed_cross_entropy(smoothing: float) -> None:
    model = classifier(label_smoothing=smoothing)
    nn.init.normal_(model.backbone.head.weight)
    images = torch.randn(3, 3, 64, 96)
    loss = model(images, samples(1, 4, 0), mode='loss')['loss']
    logits = model(images)
    expected = nn.functional.cross_entropy(logits, torch.tensor([1, 4, 0]), label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)


def test_mixup_is_of_the_reversed_batch_with_a_share_for_each_label(monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier(mixup=dict(mixup_alpha=0.8), label_smoothing=0.1)
    nn.init.normal_(model.backbone.head.weight)
    monkeypatch.setattr(np.random, 'beta', lambda *_: 0.3)
    images = torch.randn(2, 3, 64, 96)
    mixed = 0.3 * images + 0.7 * images.flip(0)
    loss = model(images.clone(), samples(1, 4), mode='loss')['loss']
    log = model(mixed).log_softmax(1)
    smooth = 0.1 / 5
    target = torch.full((2, 5), smooth)
    target[0, 1], target[0, 4] = smooth + 0.9 * 0.3, smooth + 0.9 * 0.7
    target[1, 4], target[1, 1] = smooth + 0.9 * 0.3, smooth + 0.9 * 0.7
    torch.testing.assert_close(loss, -(target * log).sum(1).mean())


def test_an_odd_batch_cannot_be_mixed() -> None:
    model = classifier(mixup=dict(mixup_alpha=0.8))
    with pytest.raises(UserError) as caught:
        model(torch.randn(3, 3, 64, 96), samples(0, 1, 2), mode='loss')
    assert caught.value.facts['images'] == 3


def test_prediction_has_the_logits_of_each_image() -> None:
    model = classifier().eval()
    images = torch.randn(2, 3, 64, 96)
    predicted = model(images, samples(0, 1), mode='predict')
    assert torch.equal(torch.stack([sample.logits for sample in predicted]), model(images))
    assert [sample.gt_label for sample in predicted] == [0, 1]


@pytest.mark.parametrize(
    ('options', 'fact'),
    [
        (dict(label_smoothing=1.0), 'label_smoothing'),
        (dict(mixup=dict(mixup=0.8)), 'mixup'),
        (dict(mixup=dict(mixup_alpha=0.0)), 'mixup'),
        (dict(mixup=dict(num_classes=3)), 'num_classes'),
        (dict(backbone=dict(head_init_scale=0)), 'head_init_scale'),
        (dict(backbone=dict(out_indices=(0,))), 'out_indices'),
    ],
)
def test_wrong_arguments_are_named(options: dict, fact: str) -> None:
    with pytest.raises(UserError) as caught:
        classifier(**options)
    assert caught.value.facts['argument'] == fact


def test_a_backbone_without_a_head_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        ImageClassifier(dict(type='ConvNeXt', arch=ARCH))
    assert caught.value.facts['argument'] == 'backbone'


def test_an_untrained_model_has_the_loss_of_chance() -> None:
    model = classifier(mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0), backbone=dict(head_init_scale=1e-6))
    loss = model(torch.randn(4, 3, 64, 96), samples(0, 1, 2, 3), mode='loss')['loss']
    assert loss.item() == pytest.approx(math.log(5), rel=1e-4)


def test_the_names_are_a_backbones_and_the_classifiers() -> None:
    names = set(ConvNeXtClassifier(5, arch=ARCH).state_dict())
    backbone = {name for name in ConvNeXt(ARCH).state_dict() if not name.startswith('norm')}
    assert names - backbone == {'norm.weight', 'norm.bias', 'head.weight', 'head.bias'}
