"""Checkpoints load into a network of timm under timm's names and under those that timm reads, whole or not at all."""

import pytest
import timm
import torch
from mmengine.registry import MODELS
from torch import nn

from mmconvnext.backbones import TimmFeatures
from mmconvnext.checkpoints import CheckpointError, load_detector, load_pretrained

RESNET = ('resnet18.a1_in1k', dict(layers=(1, 1, 1, 1)))
SWIN = ('swin_tiny_patch4_window7_224', dict(depths=(2, 2, 2, 2), embed_dim=24, num_heads=(1, 2, 4, 8)))
DENSENET = ('densenet121', dict(block_config=(2, 2, 2, 2), growth_rate=8))


def backbone(network, **arguments):
    name, timm_args = network
    return TimmFeatures(name, timm_args=timm_args, **arguments)


def whole(network, num_classes=7):
    """A classifier of timm with values of its own."""
    name, timm_args = network
    model = timm.create_model(name, num_classes=num_classes, **timm_args)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(torch.randint(1, 9, tensor.shape))
    return model.state_dict()


def assert_loaded(model, state):
    for name, tensor in model.model.state_dict().items():
        assert name.endswith('num_batches_tracked') or torch.equal(tensor, state[name]), name
    assert torch.equal(model.norm3.weight, torch.ones_like(model.norm3.weight))


@pytest.mark.parametrize('network', [RESNET, SWIN, DENSENET], ids=lambda n: n[0])
@pytest.mark.parametrize('prefix', ['', 'module.', 'backbone.model.'])
def test_timms_names(network, prefix, save):
    state = whole(network)
    model = backbone(network)
    line = load_pretrained(model, save({prefix + name: tensor for name, tensor in state.items()}))
    assert_loaded(model, state)
    assert 'norm0-3 fresh' in line
    assert 'left out' in line  # the classifier


def old_swin(state):
    """Names of the authors' file: downsampling ends a stage, and buffers are saved."""
    old = {}
    for name, tensor in state.items():
        parts = name.split('.')
        if '.downsample.' in name:
            parts[1] = str(int(parts[1]) - 1)
        old['.'.join(parts).replace('head.fc.', 'head.')] = tensor
    old['layers.0.blocks.1.attn_mask'] = torch.zeros(64, 49, 49)
    old['layers.0.blocks.0.attn.relative_position_index'] = torch.zeros(49, 49, dtype=torch.long)
    return {'model': old}


def old_densenet(state):
    """Names of torchvision's file: norm.1 for norm1."""
    renamed = {}
    for name, tensor in state.items():
        if 'denselayer' in name:
            for i in '12':
                name = name.replace(f'.norm{i}.', f'.norm.{i}.').replace(f'.conv{i}.', f'.conv.{i}.')
        renamed[name] = tensor
    return renamed


@pytest.mark.parametrize(('network', 'old'), [(SWIN, old_swin), (DENSENET, old_densenet)])
@pytest.mark.parametrize('classes', [7, 1000])
def test_names_that_timm_converts(network, old, classes, save):
    state = whole(network, classes)
    model = backbone(network)
    line = load_pretrained(model, save(old(state)))
    assert_loaded(model, state)
    assert 'converted by timm' in line


def test_init_cfg_loads_after_timms_own_initialization(save):
    state = whole(RESNET)
    path = str(save(state))
    for kind in ('Pretrained', 'ConvNeXtPretrained'):
        cfg = dict(type='TimmFeatures', model_name=RESNET[0], timm_args=RESNET[1])
        model = MODELS.build({**cfg, 'init_cfg': dict(type=kind, checkpoint=path)})
        model.init_weights()
        assert_loaded(model, state)


def test_frozen_norm_eval_and_fewer_outputs_load_the_same_file(save):
    state = whole(RESNET)
    model = backbone(RESNET, out_indices=(1, 2), frozen_stages=2, norm_eval=False, norm_cfg=dict(type='SyncBN'))
    load_pretrained(model, save(state))
    assert torch.equal(model.model.layer3[0].bn1.running_var, state['layer3.0.bn1.running_var'])
    assert not hasattr(model.model.layer4, 'weight')


@pytest.mark.parametrize(
    ('damage', 'fact'),
    [
        (lambda s: s.pop('layer4.0.conv1.weight'), dict(missing=['model.layer4.0.conv1.weight'])),
        (lambda s: s.update({'layer4.0.conv1.weight': torch.ones(2, 2)}), dict(shape=(2, 2))),
        (lambda s: s['layer4.0.conv1.weight'].fill_(torch.nan), dict(tensor='model.layer4.0.conv1.weight')),
        (
            lambda s: s.update({f'teacher.{name}': tensor for name, tensor in s.items()}),
            dict(prefixes=['', 'teacher.']),
        ),
    ],
)
def test_misfits_change_nothing(damage, fact, save):
    state = whole(RESNET)
    damage(state)
    model = backbone(RESNET)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_pretrained(model, save(state))
    assert fact.items() <= error.value.facts.items()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_another_network_is_refused(save):
    with pytest.raises(CheckpointError) as error:
        load_pretrained(backbone(RESNET), save(whole(DENSENET)))
    assert len(error.value.facts['missing']) > 10


def test_a_whole_model_with_timms_or_openmmlabs_network_loads_by_its_names(save):
    for network in (backbone(RESNET), nn.Conv2d(3, 4, 1)):
        model = nn.Module()
        model.backbone, model.head = network, nn.Linear(4, 2)
        state = {name: torch.ones_like(tensor) for name, tensor in model.state_dict().items()}
        load_detector(model, save(state))
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
        del state['backbone.norm0.bias' if network.__class__ is TimmFeatures else 'backbone.bias']
        with pytest.raises(CheckpointError):
            load_detector(model, save(state))
