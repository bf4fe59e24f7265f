"""Checkpoints of backbones other than ConvNeXt load by name: completely or not at all."""

import pytest
import torch
from torch import nn

from mmconvnext.backbones import DenseBackbone
from mmconvnext.checkpoints import CheckpointError, ConvNeXtPretrained, load_detector, load_pretrained


class Other(DenseBackbone):
    """Two stages of a convolution and a BatchNorm each; checkpoints call the first one ``layer1``."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.out_indices, self.out_channels, self.out_strides = (1,), (4,), (1,)
        self.stages = nn.ModuleList(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)) for _ in range(2))
        self.norm1 = nn.LayerNorm(4)

    def num_layers(self, decay_type):
        return 1

    def layer_of(self, name, decay_type):
        return 0

    def own_name(self, name):
        return name.replace('layer1.', 'stages.0.')


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = Other(), nn.Linear(4, 2)


def randomized(module):
    for tensor in module.state_dict().values():
        tensor.copy_(torch.randint(1, 9, tensor.shape))
    return module


@pytest.fixture
def state():
    """Tensors of a classifier with this backbone, under the names of the file."""
    tensors = {n: t.clone() for n, t in randomized(Other()).state_dict().items() if not n.startswith('norm')}
    tensors |= {'head.weight': torch.ones(2, 4), 'head.bias': torch.ones(2)}
    return {name.replace('stages.0.', 'layer1.'): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize('prefix', ['', 'model.', 'teacher.backbone.'])
def test_everything_but_the_output_norms(state, save, prefix):
    backbone = Other()
    line = load_pretrained(backbone, save({f'{prefix}{name}': tensor for name, tensor in state.items()}))
    loaded = backbone.state_dict()
    for name, tensor in state.items():
        if not name.startswith('head'):
            assert torch.equal(loaded[backbone.own_name(name)], tensor)
    assert torch.equal(loaded['norm1.weight'], torch.ones(4))
    assert '14 of 14 tensors' in line
    assert 'norm1 fresh' in line
    assert 'left out' in line


def test_init_cfg_loads_it(state, save):
    backbone = Other(init_cfg=dict(type='ConvNeXtPretrained', checkpoint=str(save(state))))
    backbone.init_weights()
    assert torch.equal(backbone.stages[0][0].weight, state['layer1.0.weight'])
    ConvNeXtPretrained(str(save(state)))(Other())


def test_one_of_two_networks(state, save):
    both = {f'{name}.{key}': tensor + i for i, name in enumerate(('a', 'b')) for key, tensor in state.items()}
    with pytest.raises(CheckpointError) as error:
        load_pretrained(Other(), save(both))
    assert error.value.facts['prefixes'] == ['a.', 'b.']
    backbone = Other()
    load_pretrained(backbone, save(both), prefix='b')
    assert torch.equal(backbone.stages[1][0].weight, state['stages.1.0.weight'] + 1)


@pytest.mark.parametrize(
    ('damage', 'facts'),
    [
        (lambda s: s.pop('stages.1.0.bias'), dict(missing=['stages.1.0.bias'])),
        (lambda s: s.update({'stages.1.5.bias': torch.ones(4)}), dict(unexpected=['stages.1.5.bias'])),
        (lambda s: s.update({'stages.1.0.bias': torch.ones(5)}), dict(misshapen=['stages.1.0.bias'])),
        (lambda s: s.update({'stages.0.0.bias': torch.ones(4)}), dict(tensor='stages.0.0.bias')),
        (lambda s: s['layer1.0.bias'].fill_(torch.nan), dict(tensor='stages.0.0.bias')),
        (lambda s: s.pop('layer1.0.weight'), dict(missing=['stages.0.0.weight'])),
        (lambda s: [s.pop(name) for name in [*s] if name.startswith('layer1')], dict(prefixes=[])),
    ],
)
def test_misfits_change_nothing(state, save, damage, facts):
    damage(state)
    backbone = Other()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_pretrained(backbone, save(state))
    assert facts.items() <= error.value.facts.items()
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_final_norm_is_of_a_convnext(state, save):
    with pytest.raises(CheckpointError) as error:
        load_pretrained(Other(), save(state), final_norm=True)
    assert error.value.facts == dict(final_norm=True)


def test_files_without_counts_of_batches(state, save):
    old = {name: tensor for name, tensor in state.items() if not name.endswith('num_batches_tracked')}
    assert '12 of 12 tensors' in load_pretrained(Other(), save(old))


@pytest.mark.parametrize('strict', [True, False])
def test_whole_model(save, strict):
    donor, model = randomized(Model()), Model()
    load_detector(model, save(donor.state_dict()), strict=strict)
    assert all(torch.equal(t, donor.state_dict()[name]) for name, t in model.state_dict().items())


def test_other_heads_stay_fresh_only_if_asked_for_and_the_backbone_never(save):
    state = randomized(Model()).state_dict() | {'head.weight': torch.ones(3, 4), 'head.bias': torch.ones(3)}
    model = Model()
    with pytest.raises(CheckpointError):
        load_detector(model, save(state))
    assert 'head fresh' in load_detector(model, save(state), strict=False)
    del state['backbone.stages.0.0.bias']
    with pytest.raises(CheckpointError) as error:
        load_detector(model, save(state), strict=False)
    assert error.value.facts['missing'] == ['backbone.stages.0.0.bias']
