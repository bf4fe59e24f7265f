"""The networks on the road from ResNet to ConvNeXt are the paper's: both ends, and each layout in between."""

import pytest
import torch
import torchvision
from mmengine.optim import build_optim_wrapper
from torch import nn
from torch.nn import functional as F

from mmconvnext.backbones import ConvNeXt, ConvNeXtRoad
from mmconvnext.backbones.road_steps import NAMES
from mmconvnext.checkpoints import CheckpointError
from mmconvnext.checkpoints.fit_by_name import fit_by_name
from mmconvnext.errors import UserError

TOY = dict(depths=(1, 2, 4, 1), width=4)
WITH_BATCH_NORM = NAMES[: NAMES.index('layer_norm')]


def randomize(backbone):
    """Makes every tensor count, running statistics and layer scale included."""
    for name, tensor in backbone.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if name.endswith('var') else tensor.normal_(std=0.3).add_(0.05)
    return backbone


def raw(backbone, x):
    """The outputs of the stages, before the output norms."""
    outs = []
    for downsample, stage in zip(backbone.downsample_layers, backbone.stages):
        x = stage(downsample(x))
        outs.append(x)
    return outs


def test_first_step_is_torchvisions_resnet50_tensor_for_tensor():
    # Another memory layout would round otherwise
    theirs = torchvision.models.resnet50().eval().to(memory_format=torch.channels_last)
    ours = ConvNeXtRoad('resnet').eval()
    plan = fit_by_name(ours, theirs.state_dict(), 'resnet50.pth')
    assert {name.split('.')[0] for name in plan.left_out} == {'fc'}
    assert set(plan.state) == {name for name in ours.state_dict() if not name.startswith('norm')}
    assert len(plan.state) == len(theirs.state_dict()) - 2
    ours.load_state_dict(plan.state, strict=False)
    x = torch.randn(2, 3, 64, 96).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected, y = [], theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
        for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
            expected.append(y := layer(y))
        for actual, wanted in zip(raw(ours, x), expected):
            torch.testing.assert_close(actual, wanted)
        for actual, wanted in zip(ours(x), expected):
            normed = F.layer_norm(wanted.permute(0, 2, 3, 1), wanted.shape[1:2], eps=1e-6).permute(0, 3, 1, 2)
            torch.testing.assert_close(actual, normed)


@pytest.mark.parametrize(('regime', 'arch'), [('resnet50', 'tiny'), ('resnet200', 'base')])
def test_last_step_has_the_tensors_of_our_convnext(regime, arch):
    with torch.device('meta'):
        ours, convnext = ConvNeXtRoad('convnext', regime).state_dict(), ConvNeXt(arch).state_dict()
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in convnext.items()}


def test_last_step_computes_what_our_convnext_tiny_does():
    convnext = ConvNeXt('tiny', layer_scale_init_value=1.0).eval()
    road = ConvNeXtRoad('convnext', layer_scale_init_value=1e-6).eval()
    road.load_state_dict(convnext.state_dict())
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert all(torch.equal(actual, wanted) for actual, wanted in zip(road(x), convnext(x)))


def test_last_step_takes_a_convnext_file_by_its_names_and_leaves_the_classifier():
    convnext = ConvNeXt(dict(depths=TOY['depths'], widths=(4, 8, 16, 32)))
    state = {name: t for name, t in randomize(convnext).state_dict().items() if not name.startswith('norm')}
    classifier = {'norm.weight': torch.ones(32), 'norm.bias': torch.ones(32), 'head.weight': torch.ones(5, 32)}
    road = ConvNeXtRoad('convnext', **TOY)
    plan = fit_by_name(road, state | classifier, 'file.pth')
    assert plan.state.keys() == state.keys()
    assert plan.left_out == list(classifier)
    with pytest.raises(CheckpointError):
        fit_by_name(ConvNeXtRoad('layer_norm', **TOY), state, 'file.pth')


class Reference:
    """A step before the last, computed from the tensors alone, by the layout that the paper's authors wrote."""

    def __init__(self, step, state):
        self.done = set(NAMES[: NAMES.index(step) + 1])
        self.kernel = int(step.removeprefix('kernel_')) if step.startswith('kernel_') else None
        self.state = state

    def conv(self, x, name, **geometry):
        return F.conv2d(x, self.state[f'{name}.weight'], self.state.get(f'{name}.bias'), **geometry)

    def norm(self, x, name):
        weight, bias = self.state[f'{name}.weight'], self.state[f'{name}.bias']
        if 'layer_norm' in self.done:
            mean, var = x.mean(1, keepdim=True), x.var(1, keepdim=True, correction=0)
            eps = 1e-6
        else:
            mean, var = (self.state[f'{name}.running_{kind}'].view(1, -1, 1, 1) for kind in ('mean', 'var'))
            eps = 1e-5
        return (x - mean) / torch.sqrt(var + eps) * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)

    def act(self, x):
        return F.gelu(x) if 'gelu' in self.done else x.clamp(min=0)

    def spatial(self, x, name, stride):
        weight = self.state[f'{name}.weight']
        size = self.kernel or (7 if 'kernel_7' in self.done else 3)
        assert weight.shape[2:] == (size, size)
        groups = x.shape[1] if 'depthwise' in self.done else 1
        return self.conv(x, name, stride=stride, padding=size // 2, groups=groups)

    def block(self, x, name, stride):
        shortcut = x
        if f'{name}.shortcut.0.weight' in self.state:
            shortcut = self.conv(x, f'{name}.shortcut.0', stride=stride)
            shortcut = self.norm(shortcut, f'{name}.shortcut.1')
        first, second, third = (f'{name}.conv{i}' for i in (1, 2, 3))
        norms = [f'{name}.norm{i}' for i in (1, 2, 3)]
        if 'depthwise_up' not in self.done:
            x = self.act(self.norm(self.conv(x, first), norms[0]))
            x = self.act(self.norm(self.spatial(x, second, stride), norms[1]))
            return self.act(shortcut + self.norm(self.conv(x, third), norms[2]))
        x = self.norm(self.spatial(x, first, stride), norms[0])
        if 'fewer_activations' not in self.done:
            x = self.act(x)
        x = self.conv(x, second)
        x = self.act(x if 'fewer_norms' in self.done else self.norm(x, norms[1]))
        x = self.conv(x, third)
        x = shortcut + (x if 'fewer_norms' in self.done else self.norm(x, norms[2]))
        return x if 'fewer_activations' in self.done else self.act(x)

    def __call__(self, x, depths):
        stem = 'downsample_layers.0'
        if 'patchify_stem' in self.done:
            x = self.conv(x, f'{stem}.0', stride=4)
        else:
            x = self.act(self.norm(self.conv(x, f'{stem}.0', stride=2, padding=3), f'{stem}.1'))
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        outs = []
        for i, depth in enumerate(depths):
            for j in range(depth):
                x = self.block(x, f'stages.{i}.{j}', 2 if i and not j else 1)
            outs.append(x)
        return outs


@pytest.mark.parametrize('step', NAMES[:-1])
def test_layout_is_the_authors(step):
    backbone = randomize(ConvNeXtRoad(step, **TOY)).double().eval()
    x = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected = Reference(step, backbone.state_dict())(x, TOY['depths'])
        for actual, wanted in zip(raw(backbone, x), expected):
            torch.testing.assert_close(actual, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('step', NAMES)
def test_outputs_are_what_the_attributes_say(step):
    backbone = ConvNeXtRoad(step, out_indices=[2, 0], **TOY)
    outs = backbone(torch.randn(2, 3, 64, 96))
    assert backbone.out_indices == (0, 2)
    assert [out.shape[1] for out in outs] == list(backbone.out_channels)
    assert [(64 // out.shape[2], 96 // out.shape[3]) for out in outs] == [(s, s) for s in backbone.out_strides]
    assert all(out.is_contiguous(memory_format=torch.channels_last) for out in outs)
    assert not any(name.startswith(('stages.3', 'norm1', 'norm3')) for name, _ in backbone.named_parameters())


@pytest.mark.parametrize('step', NAMES)
def test_frozen_parts_do_not_train_and_keep_their_statistics(step):
    backbone = ConvNeXtRoad(step, frozen_stages=2, **TOY).train()
    frozen = ('downsample_layers.0', 'downsample_layers.1', 'stages.0', 'stages.1', 'norm0', 'norm1')
    assert {n for n, p in backbone.named_parameters() if not p.requires_grad} == {
        n for n, _ in backbone.named_parameters() if n.startswith(frozen)
    }
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    backbone(torch.randn(2, 3, 64, 96))
    moved = {name for name, tensor in backbone.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not any(name.startswith(frozen) for name in moved)
    assert any('running_mean' in name for name in moved) == (step in WITH_BATCH_NORM)


@pytest.mark.parametrize('step', ['resnet', 'fewer_norms'])
def test_norm_eval_keeps_every_statistic_and_trains_the_weights(step):
    backbone = ConvNeXtRoad(step, norm_eval=True, norm_cfg=dict(type='SyncBN'), **TOY).train()
    norms = [module for module in backbone.modules() if isinstance(module, nn.SyncBatchNorm)]
    assert norms
    assert not any(norm.training for norm in norms)
    before = {name: tensor.clone() for name, tensor in backbone.named_buffers()}
    backbone(torch.randn(2, 3, 64, 96))
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.named_buffers())
    assert all(p.requires_grad for p in backbone.parameters())


@pytest.mark.parametrize('step', ['resnet', 'kernel_7', 'convnext'])
def test_stochastic_depth_grows_linearly_over_all_blocks(step):
    backbone = ConvNeXtRoad(step, drop_path_rate=0.7, out_indices=(0, 1, 2), **TOY)
    rates = [block.drop_path.rate for stage in backbone.stages for block in stage]
    assert rates == pytest.approx([0.1 * i for i in range(7)])


@pytest.mark.parametrize('decay_type', ['layer_wise', 'stage_wise'])
@pytest.mark.parametrize(
    ('regime', 'step', 'count'),
    [
        ('resnet50', 'resnet', 5),  # 6 blocks in stage 3
        ('resnet50', 'stage_ratio', 6),
        ('resnet50', 'layer_norm', 6),
        ('resnet50', 'convnext', 6),
        ('resnet200', 'resnet', 15),
        ('resnet200', 'kernel_7', 12),
    ],
)
def test_layer_decay(regime, step, count, decay_type):
    with torch.device('meta'):
        model = nn.ModuleDict(dict(backbone=ConvNeXtRoad(step, regime, width=8), head=nn.Linear(1, 1)))
    optim = dict(
        optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.05),
        constructor='LayerDecayOptimWrapperConstructor',
        paramwise_cfg=dict(decay_rate=0.5, decay_type=decay_type),
    )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = build_optim_wrapper(model, optim).optimizer.param_groups
    found = {names[id(p)]: (group['lr'], group['weight_decay']) for group in groups for p in group['params']}

    # The layer of each part of the network, listed
    depths = [len(stage) for stage in model['backbone'].stages]
    if decay_type == 'layer_wise':
        blocks = [[1] * depths[0], [2] * depths[1], [3 + j // 3 for j in range(depths[2])], [count] * depths[3]]
        layers = {'downsample_layers.0': 0, 'downsample_layers.1': 2, 'downsample_layers.2': 3}
        layers['downsample_layers.3'] = count
    else:
        blocks = [[i + 1] * depth for i, depth in enumerate(depths)]
        layers = {f'downsample_layers.{i}': 0 for i in range(4)}
    layers |= {f'stages.{i}.{j}': layer for i, row in enumerate(blocks) for j, layer in enumerate(row)}
    for name, parameter in model.named_parameters():
        part = next((part for part in layers if name.startswith(f'backbone.{part}.')), None)
        steps = 0 if part is None else count + 1 - layers[part]
        assert found[name] == (0.5**steps, 0.05 if parameter.ndim > 1 else 0.0), name


@pytest.mark.parametrize(
    ('arguments', 'argument'),
    [
        (dict(step='kernel_13'), 'step'),
        (dict(step=7), 'step'),
        (dict(step=['resnet']), 'step'),
        (dict(regime='resnet101'), 'regime'),
        (dict(depths=(1, 1, 1)), 'depths'),
        (dict(width=0), 'width'),
        (dict(arch='tiny'), 'arch'),
        (dict(norm_cfg=dict(type='GN')), 'norm_cfg'),
        (dict(norm_cfg=dict(type='BN', requires_grad=False)), 'norm_cfg'),
        (dict(norm_cfg='BN'), 'norm_cfg'),
        (dict(frozen_stages=5), 'frozen_stages'),
        (dict(drop_path_rate=1.0), 'drop_path_rate'),
        (dict(step='resnet', layer_scale_init_value=-1), 'layer_scale_init_value'),
    ],
)
def test_wrong_arguments_are_named(arguments, argument):
    with torch.device('meta'), pytest.raises(UserError) as error:
        ConvNeXtRoad(**arguments)
    assert error.value.facts['argument'] == argument
