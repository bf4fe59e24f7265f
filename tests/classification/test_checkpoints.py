"""Files into a classifier: with their head, without one, and of other classes; and files that it leaves."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmconvnext.backbones import ConvNeXt, ConvNeXtClassifier
from mmconvnext.checkpoints import CheckpointError, convert, load_detector, load_pretrained
from mmconvnext.classification import ImageClassifier
from mmconvnext.pretraining import FCMAE
from tests.classification.conftest import ARCH


def network(version: int, classes: int = 5) -> ConvNeXtClassifier:
    """As after a training: no parameter has its initial value."""
    model = ConvNeXtClassifier(classes, arch=ARCH, version=version)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


def official(model: ConvNeXtClassifier) -> dict[str, Tensor]:
    """The layout of the authors' files: GRN's vectors have four axes."""
    return {name: t[None, None, None] if '.grn.' in name else t for name, t in model.state_dict().items()}


def fresh(version: int, classes: int = 5) -> ImageClassifier:
    return ImageClassifier(dict(type='ConvNeXtClassifier', arch=ARCH, version=version, num_classes=classes))


def assert_same(model: nn.Module, donor: nn.Module) -> None:
    expected = donor.state_dict()
    assert model.state_dict().keys() == expected.keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'own.pth'


@pytest.mark.parametrize('version', [1, 2])
@pytest.mark.parametrize('dialect', ['official', 'timm', 'torchvision', 'hf', 'mmpretrain'])
def test_whole_classifiers_of_every_dialect_can_be_evaluated(version: int, dialect: str, path: Path) -> None:
    if (dialect, version) == ('torchvision', 2):
        pytest.skip('torchvision has no V2')
    donor = network(version)
    state = official(donor) if dialect == 'official' else convert(donor.state_dict(), dialect).state
    torch.save(dict(model=state), path)
    model = fresh(version)
    report = load_detector(model, path)
    assert_same(model.backbone, donor)
    count = len(donor.state_dict())
    assert f'{count} of {count} tensors' in report


def test_what_a_training_leaves_can_be_evaluated_and_starts_a_detector(path: Path) -> None:
    trained = fresh(2)
    for parameter in trained.parameters():
        nn.init.normal_(parameter)
    torch.save(dict(meta={}, state_dict=trained.state_dict()), path)
    model = fresh(2)
    load_detector(model, path)
    assert_same(model, trained)
    backbone = ConvNeXt(ARCH, version=2)
    load_pretrained(backbone, path, final_norm=True)
    assert torch.equal(backbone.norm3.weight, trained.backbone.norm.weight)
    assert torch.equal(backbone.stages[2][1].grn.gamma, trained.backbone.stages[2][1].grn.gamma)
    assert convert(trained.state_dict(), 'timm').state['head.fc.weight'].shape == (5, 10)


def test_a_head_of_other_classes_starts_afresh_with_the_norm_before_it(path: Path) -> None:
    """As the authors' main.py does from ImageNet-22K to 1K."""
    donor = network(1, classes=9)
    torch.save(dict(model=official(donor)), path)
    model = fresh(1).backbone
    before = model.head.weight.clone()
    report = load_pretrained(model, path)
    for name, tensor in donor.state_dict().items():
        if not name.startswith('head.'):
            assert torch.equal(model.state_dict()[name], tensor), name
    assert torch.equal(model.head.weight, before)
    assert 'head fresh' in report


def test_a_head_of_the_same_classes_is_loaded(path: Path) -> None:
    """As from 224 to 384 pixels."""
    donor = network(1)
    torch.save(dict(model=official(donor)), path)
    model = fresh(1).backbone
    load_pretrained(model, path)
    assert_same(model, donor)


def test_pre_trained_weights_bring_neither_norm_nor_head(path: Path) -> None:
    pretrained = FCMAE(dict(type='ConvNeXt', version=2, arch=ARCH), decoder_width=16)
    for parameter in pretrained.parameters():
        nn.init.normal_(parameter)
    torch.save(dict(meta={}, state_dict=pretrained.state_dict()), path)
    model = fresh(2)
    report = load_pretrained(model.backbone, path)
    for name, tensor in pretrained.encoder.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], tensor), name
    assert 'norm, head fresh' in report
    with pytest.raises(CheckpointError) as caught:  # there is nothing to evaluate
        load_detector(fresh(2), path)
    assert caught.value.facts['classes'] is None


def test_a_file_of_other_classes_cannot_be_evaluated(path: Path) -> None:
    torch.save(dict(model=official(network(1, classes=9))), path)
    model = fresh(1)
    before = model.backbone.head.weight.clone()
    with pytest.raises(CheckpointError) as caught:
        load_detector(model, path)
    assert (caught.value.facts['classes'], caught.value.facts['wanted']) == (9, 5)
    assert torch.equal(model.backbone.head.weight, before)


def test_a_training_may_start_from_a_file_of_other_classes(path: Path) -> None:
    """``load_from`` of a config; the runner is strict in tests and resumed trainings alone."""
    donor = network(1, classes=9)
    torch.save(dict(model=official(donor)), path)
    model = fresh(1)
    before = model.backbone.head.weight.clone()
    report = load_detector(model, path, strict=False)
    assert torch.equal(model.backbone.head.weight, before)
    assert torch.equal(model.backbone.norm.weight, donor.norm.weight)
    assert 'backbone.head fresh' in report


def test_a_file_that_lost_a_part_of_the_head_is_refused(path: Path) -> None:
    state = official(network(1))
    del state['norm.weight'], state['norm.bias']
    torch.save(dict(model=state), path)
    with pytest.raises(CheckpointError) as caught:
        load_detector(fresh(1), path)
    assert caught.value.facts['missing'] == ['norm.weight', 'norm.bias']
