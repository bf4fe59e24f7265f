"""timm's networks behind the contract of our backbone: each trap of timm has a test."""

import math
from functools import cache

import pytest
import timm
import torch
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from timm.models import group_parameters
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmconvnext.backbones import ConvNeXt, DenseBackbone, TimmFeatures
from mmconvnext.backbones.timm_features import image_statistics
from mmconvnext.checkpoints import convert
from mmconvnext.errors import UserError

# A network of each family with fewer or narrower blocks, and timm's indices of strides 4 to 32
SMALL = {
    'resnet18': (dict(layers=(1, 1, 2, 1)), (1, 2, 3, 4)),
    'swin_tiny_patch4_window7_224': (dict(depths=(2, 2, 2, 2), embed_dim=24, num_heads=(1, 2, 4, 8)), (0, 1, 2, 3)),
    'densenet121': (dict(block_config=(2, 2, 3, 2), growth_rate=8), (1, 2, 3, 4)),
    'resnetv2_50x1_bit': (dict(channels=(128, 128, 256, 256)), (1, 2, 3, 4)),
    'tf_efficientnet_b0': (dict(), (1, 2, 3, 4)),
}
WITH_BATCH_NORM = ('resnet18', 'densenet121', 'tf_efficientnet_b0')
# Parameters in millions without what only serves classification, counted with timm 1.0.31
PARAMETERS = {
    'resnet50': 23.51,
    'resnetv2_50x1_bit': 23.50,
    'swin_tiny_patch4_window7_224': 27.52,
    'swin_small_patch4_window7_224': 48.84,
    'swin_base_patch4_window7_224': 86.74,
    'densenet121': 6.95,
    'tf_efficientnet_b0': 3.60,
    'tf_efficientnet_b1': 6.10,
    'tf_efficientnet_b2': 7.20,
    'tf_efficientnet_b3': 10.10,
    'tf_efficientnet_b4': 16.74,
}


def small(name, **arguments):
    return TimmFeatures(name, timm_args=SMALL[name][0], **arguments)


def on_meta(name, **arguments):
    with torch.device('meta'):
        return TimmFeatures(name, **arguments)


@cache
def at_full_size(name, **arguments):
    """Networks as the configs have them, on the meta device. No test changes them."""
    return on_meta(name, **arguments)


def reference(name):
    """timm's own features, as other packages take them."""
    timm_args, indices = SMALL[name]
    swin = dict(strict_img_size=False, always_partition=True) if name.startswith('swin') else {}
    return timm.create_model(name, features_only=True, out_indices=indices, **timm_args, **swin)


@pytest.mark.parametrize('name', SMALL)
def test_outputs_are_timms_own_features(name):
    theirs = reference(name).eval()
    ours = small(name, output_norm=False).eval()
    # timm's wrapper for features flattens layers.0 to layers_0; Swin's features are (B, H, W, C)
    state = {key.replace('.', '_'): tensor for key, tensor in theirs.state_dict().items()}
    wanted = ours.model.state_dict()
    assert {key.replace('.', '_') for key in wanted} == set(state)
    ours.model.load_state_dict({key: state[key.replace('.', '_')] for key in wanted})
    x = torch.randn(1, 3, 96, 160)
    with torch.no_grad():
        outs, expected = ours(x), theirs(x)
    if name.startswith('swin'):
        expected = [out.permute(0, 3, 1, 2) for out in expected]
    assert len(outs) == 4
    for i, (out, same) in enumerate(zip(outs, expected)):
        assert out.shape == (1, ours.out_channels[i], 96 // ours.out_strides[i], 160 // ours.out_strides[i])
        torch.testing.assert_close(out, same, rtol=1e-4, atol=1e-4 * float(same.abs().max()))
    assert ours.out_strides == (4, 8, 16, 32)


@pytest.mark.parametrize('name', PARAMETERS)
def test_what_only_serves_classification_is_not_built(name):
    backbone = at_full_size(name)
    assert isinstance(backbone, DenseBackbone)
    assert round(sum(p.numel() for p in backbone.model.parameters()) / 1e6, 2) == PARAMETERS[name]


@pytest.mark.parametrize('name', SMALL)
def test_every_parameter_gets_a_gradient(name):  # DDP would wait for those that do not
    backbone = small(name, out_indices=(0, 2)).train()
    assert backbone.out_strides == (4, 16)
    outs = backbone(torch.randn(2, 3, 64, 96))
    assert [tuple(out.shape[2:]) for out in outs] == [(16, 24), (4, 6)]
    sum(out.square().mean() for out in outs).backward()
    assert [key for key, p in backbone.named_parameters() if p.grad is None] == []


def test_output_norms_are_those_of_convnext():
    backbone, ours = on_meta('resnet18', out_indices=(1, 3)), ConvNeXt('atto')
    assert {key for key, _ in backbone.named_children()} == {'model', 'norm1', 'norm3'}
    assert type(backbone.norm1) is type(ours.norm1)
    assert backbone.norm1.eps == ours.norm1.eps
    assert backbone.norm3.normalized_shape == (512,)
    # BiT's features come before the next norm: with the output norm they have a variance of 1
    out = small('resnetv2_50x1_bit').eval()(torch.randn(1, 3, 64, 96))[1]
    torch.testing.assert_close(out.var(1, correction=0), torch.ones(1, 8, 12), rtol=0, atol=1e-3)


def test_swin_shifts_its_windows_in_every_stage_and_takes_any_size():
    backbone = small('swin_tiny_patch4_window7_224', drop_path_rate=0.3)
    shifts = [[block.shift_size for block in stage.blocks] for stage in backbone.model.layers]
    # Built for 224 pixels without always_partition, the last stage would have (0, 0)
    assert [tuple(block) for stage in shifts for block in stage] == [(0, 0), (3, 3)] * 4
    assert backbone.model.layers[3].blocks[1].drop_path1.drop_prob == pytest.approx(0.3)


@pytest.mark.parametrize('name', SMALL)
def test_sizes_that_are_no_multiple_of_32_round_as_the_network_does(name):
    """DenseNet's pooling rounds down where the others round up, so configs pad images to a multiple of 32."""
    out = small(name).eval()(torch.randn(1, 3, 72, 104))[-1]
    assert tuple(out.shape[2:]) == ((2, 3) if name == 'densenet121' else (3, 4))


def test_same_padding_shifts_maps_unless_images_are_padded():
    """EfficientNets of TensorFlow pad by the image's size: a column at the right moves all that is left of it."""
    backbone = TimmFeatures('tf_efficientnet_b0', output_norm=False).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        whole = backbone(x)[0]
        narrow = backbone(x[..., :61])[0]
        padded = backbone(nn.functional.pad(x[..., :61], (0, 3)))[0]
    assert (narrow - whole)[..., :4].abs().max() > 0.1 * whole.abs().max()
    # The squeeze-and-excitation means see the other pixels, so the columns are close and not equal
    assert (padded - whole)[..., :4].abs().max() < 0.1 * whole.abs().max()


def steps(names, num_layers, blocks):
    """Layers between each parameter and the head, from the number of the block that it is in; the stem is 0."""
    return {name: num_layers + 1 - math.ceil(block * num_layers / blocks) for name, block in names.items()}


def multipliers(backbone, decay_type='layer_wise', decay_rate=0.5):
    model = nn.Module()
    model.backbone, model.head = backbone, nn.Linear(2, 2, device='meta')
    cfg = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.05),
        constructor='LayerDecayOptimWrapperConstructor',
        paramwise_cfg=dict(decay_rate=decay_rate, decay_type=decay_type),
    )
    groups = build_optim_wrapper(model, cfg).optimizer.param_groups
    names = {id(p): name.removeprefix('backbone.') for name, p in model.named_parameters()}
    found = {names[id(p)]: (group['lr'], group['weight_decay']) for group in groups for p in group['params']}
    assert found['head.weight'] == (1.0, 0.05)
    return {name: value for name, value in found.items() if not name.startswith('head')}


def block_of_resnet(name):
    part, *rest = name.split('.')
    return 0 if not part.startswith('layer') else (0, 3, 7, 13)[int(part[5:]) - 1] + int(rest[0]) + 1


def block_of_swin(name, depths):
    part, *rest = name.split('.')
    if part == 'patch_embed':
        return 0
    stage = int(rest[0])
    return sum(depths[:stage]) + (int(rest[2]) if rest[1] == 'blocks' else 0) + 1


def block_of_densenet(name):
    parts = name.split('.')
    depths = (6, 12, 24, 16)
    if parts[1].startswith('denseblock'):
        return sum(depths[: int(parts[1][10:]) - 1]) + int(parts[2][10:])
    if parts[1].startswith('transition'):  # with the layer that it follows
        return sum(depths[: int(parts[1][10:])])
    return 59 if parts[1] == 'norm5' else 0


def block_of_efficientnet(name):
    parts = name.split('.')
    return sum((1, 2, 2, 3, 3, 4, 1)[: int(parts[1])]) + int(parts[2]) + 1 if parts[0] == 'blocks' else 0


def block_of_bit(name):
    parts = name.split('.')
    return (0, 3, 7, 13)[int(parts[1])] + int(parts[3]) + 1 if parts[0] == 'stages' else 0


BLOCKS = {
    'resnet50': (block_of_resnet, 16, 6),
    'swin_tiny_patch4_window7_224': (lambda name: block_of_swin(name, (2, 2, 6, 2)), 12, 6),
    'swin_base_patch4_window7_224': (lambda name: block_of_swin(name, (2, 2, 18, 2)), 24, 12),
    'densenet121': (block_of_densenet, 59, 6),
    'resnetv2_50x1_bit': (block_of_bit, 16, 6),
    'tf_efficientnet_b0': (block_of_efficientnet, 16, 6),
}


@pytest.mark.parametrize('name', BLOCKS)
def test_layer_decay_counts_blocks(name):
    block_of, blocks, num_layers = BLOCKS[name]
    backbone = at_full_size(name, decay_layers=num_layers)
    inside = {key: block_of(key.removeprefix('model.')) for key, _ in backbone.model.named_parameters('model')}
    expected = {key: 0.5**count for key, count in steps(inside, num_layers, blocks).items()}
    found = {key: lr for key, (lr, _) in multipliers(backbone).items()}
    assert {key: lr for key, lr in found.items() if key.startswith('model.')} == expected
    assert {lr for key, lr in found.items() if key.startswith('norm')} == {1.0}
    # Every layer from the stem to the last block is there
    assert sorted(set(expected.values())) == [0.5 ** (num_layers + 1 - i) for i in range(num_layers + 1)]


@pytest.mark.parametrize(('depths', 'num_layers'), [((3, 3, 9, 3), 6), ((3, 3, 27, 3), 12)])
def test_layer_decay_of_timms_convnext_is_ours(depths, num_layers):
    ours = ConvNeXt(dict(depths=depths, widths=(4, 4, 4, 4)))
    theirs = TimmFeatures('convnext_tiny', decay_layers=num_layers, timm_args=dict(depths=depths, dims=(4, 4, 4, 4)))
    state = ours.state_dict()
    for number, tensor in enumerate(state.values()):  # so that a tensor tells its name
        tensor.fill_(number)
    names = list(state)
    renamed = {f'model.{new}': names[int(t.flatten()[0])] for new, t in convert(state, 'timm').state.items()}
    ours, theirs = multipliers(ours), multipliers(theirs)
    shared = renamed.keys() & theirs.keys()
    assert len(shared) == len([name for name in ours if not name.startswith('norm')])
    assert {name: theirs[name] for name in shared} == {name: ours[renamed[name]] for name in shared}


def test_one_group_of_scale_1_is_what_timms_wrapper_for_features_would_have_given():
    """timm's layer decay needs group_matcher(), which its wrapper for features lacks: it then decays nothing."""
    with torch.device('meta'):
        wrapper = timm.create_model('resnet50', features_only=True)
    assert not hasattr(wrapper, 'group_matcher')
    assert len({lr for lr, _ in multipliers(at_full_size('resnet50')).values()}) == 8
    # And 0.95 over timm's own groups would be another recipe than over N = 6
    with torch.device('meta'):
        whole = timm.create_model('resnet50')
    fine = group_parameters(whole, whole.group_matcher(coarse=False), reverse=True)
    assert 0.95 ** max(fine.values()) < 0.45
    stem = multipliers(at_full_size('resnet50'), decay_rate=0.95)['model.conv1.weight'][0]
    assert stem == pytest.approx(0.95**7)


@pytest.mark.parametrize('name', BLOCKS)
def test_stage_wise_decay(name):
    found = multipliers(at_full_size(name), 'stage_wise')
    assert {lr for lr, _ in found.values()} == {1.0, *(0.5**n for n in (7, 6, 5, 4, 3))}
    first = {
        'resnet50': ('bn1', 'layer1.2', 'layer2.0', 'layer4.2'),
        'swin_tiny_patch4_window7_224': ('patch_embed', 'layers.0', 'layers.1', 'layers.3'),
        'swin_base_patch4_window7_224': ('patch_embed', 'layers.0', 'layers.1', 'layers.3'),
        'densenet121': ('features.conv0', 'features.denseblock1', 'features.denseblock2', 'features.norm5'),
        'resnetv2_50x1_bit': ('stem', 'stages.0', 'stages.1', 'stages.3'),
        'tf_efficientnet_b0': ('conv_stem', 'blocks.1', 'blocks.2', 'blocks.6'),
    }[name]
    for part, steps_to_head in zip(first, (7, 6, 5, 3)):
        lrs = {lr for key, (lr, _) in found.items() if key.startswith(f'model.{part}.')}
        assert lrs == {0.5**steps_to_head}


def test_swins_position_biases_have_no_weight_decay():
    found = multipliers(at_full_size('swin_tiny_patch4_window7_224'))
    tables = {wd for key, (_, wd) in found.items() if key.endswith('relative_position_bias_table')}
    assert tables == {0.0}
    assert found['model.layers.0.blocks.0.attn.qkv.weight'][1] == 0.05


@pytest.mark.parametrize('name', WITH_BATCH_NORM)
def test_batch_norms_keep_their_statistics_in_training(name):
    backbone = small(name).train()
    norms = [m for m in backbone.modules() if isinstance(m, _BatchNorm)]
    before = [m.running_mean.clone() for m in norms]
    backbone(torch.randn(2, 3, 64, 64))
    assert backbone.training
    assert all(torch.equal(m.running_mean, mean) for m, mean in zip(norms, before))
    assert all(p.requires_grad for m in norms for p in m.parameters())
    trained = small(name, norm_eval=False).train()
    trained(torch.randn(2, 3, 64, 64))
    assert all(m.running_mean.any() for m in trained.modules() if isinstance(m, _BatchNorm))


@pytest.mark.parametrize('name', WITH_BATCH_NORM)
def test_synchronized_batch_norms_keep_activation_eps_and_momentum(name):
    plain = small(name, norm_eval=False)
    synced = small(name, norm_eval=False, norm_cfg=dict(type='SyncBN'))
    pairs = [
        (a, b) for a, b in zip(plain.model.modules(), synced.model.modules(), strict=True) if isinstance(a, _BatchNorm)
    ]
    assert pairs
    for before, after in pairs:
        assert isinstance(after, nn.SyncBatchNorm)
        assert (after.eps, after.momentum) == (before.eps, before.momentum)
    if name.startswith('tf_'):
        assert {before.eps for before, _ in pairs} == {1e-3}
    synced.model.load_state_dict(plain.model.state_dict())
    x = torch.randn(1, 3, 64, 96)
    for out, same in zip(synced.eval()(x), plain.eval()(x)):  # PyTorch's conversion would drop activations
        torch.testing.assert_close(out, same)


def test_batch_norms_with_frozen_weights():
    backbone = on_meta('resnet18', norm_cfg=dict(type='BN', requires_grad=False))
    frozen = {key for key, p in backbone.named_parameters() if not p.requires_grad}
    assert frozen == {key for key, _ in backbone.named_parameters() if 'bn' in key or 'downsample.1' in key}


@pytest.mark.parametrize(
    ('name', 'frozen', 'free'),
    [
        ('resnet18', ('conv1', 'bn1', 'layer1'), ('layer2', 'layer3', 'layer4')),
        ('swin_tiny_patch4_window7_224', ('patch_embed', 'layers.0'), ('layers.1', 'layers.2', 'layers.3')),
        (
            'densenet121',
            ('features.conv0', 'features.norm0', 'features.denseblock1'),
            ('features.denseblock2', 'features.norm5'),
        ),
        ('resnetv2_50x1_bit', ('stem', 'stages.0'), ('stages.1', 'stages.3')),
        ('tf_efficientnet_b0', ('conv_stem', 'bn1', 'blocks.0', 'blocks.1'), ('blocks.2', 'blocks.6')),
    ],
)
def test_frozen_stages(name, frozen, free):
    backbone = on_meta(name, frozen_stages=1, norm_eval=False).train()
    frozen, free = (tuple(f'model.{part}.' for part in parts) for parts in (frozen, free))
    assert not any(p.requires_grad for key, p in backbone.named_parameters() if key.startswith((*frozen, 'norm0.')))
    assert all(p.requires_grad for key, p in backbone.named_parameters() if key.startswith((*free, 'norm1.')))
    # Frozen parts stay in eval mode, with stochastic depth and BatchNorms
    assert not any(module.training for key, module in backbone.named_modules() if f'{key}.'.startswith(frozen))
    assert all(module.training for key, module in backbone.named_modules() if f'{key}.'.startswith(free))
    assert backbone.training
    whole = on_meta(name, frozen_stages=4).train()
    assert not any(p.requires_grad for p in whole.parameters())
    assert not any(module.training for module in whole.children())
    stem = {key for key, p in on_meta(name, frozen_stages=0).named_parameters() if not p.requires_grad}
    assert stem
    assert not any(key.startswith(f'model.{part}') for key in stem for part in ('layer', 'stages', 'blocks', 'norm0'))


def test_image_statistics_are_those_of_the_weights():
    imagenet = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    half = ([127.5] * 3, [127.5] * 3)
    for name in ('resnetv2_50x1_bit.goog_in21k_ft_in1k', 'tf_efficientnet_b0.ap_in1k', 'resnetv2_50.a1h_in1k'):
        assert image_statistics(name) == half
    for name in ('resnet50.a1_in1k', 'tf_efficientnet_b4.ns_jft_in1k', 'densenet121', 'swin_tiny_patch4_window7_224'):
        assert image_statistics(name) == imagenet


@pytest.mark.parametrize(
    ('arguments', 'fact'),
    [
        (dict(model_name='resnet51'), 'similar'),
        (dict(model_name='resnet50.nope'), 'similar'),
        (dict(model_name='vit_tiny_patch16_224'), 'strides'),
        (dict(model_name='maxvit_tiny_tf_224'), 'size'),
        (dict(model_name='vgg11_bn'), 'network'),
        (dict(model_name='densenet121', drop_path_rate=0.1), 'argument'),
        (dict(model_name='resnet18', drop_path_rate=1.0), 'argument'),
        (dict(model_name='resnet18', norm_cfg=dict(type='GN')), 'argument'),
        (dict(model_name='resnet18', norm_cfg=dict(type='BN', eps=1e-3)), 'argument'),
        (dict(model_name='resnet18', norm_cfg=dict(type='SyncBN')), 'argument'),  # with norm_eval
        (dict(model_name='resnetv2_50x1_bit', norm_eval=False, norm_cfg=dict(type='SyncBN')), 'argument'),
        (dict(model_name='resnet18', frozen_stages=5), 'argument'),
        (dict(model_name='resnet18', decay_layers=0), 'argument'),
        (dict(model_name='resnet18', out_indices=(0, 4)), 'argument'),
        (dict(model_name='resnet18', timm_args=dict(pretrained=True)), 'refused'),
        (dict(model_name='resnet18', timm_args=dict(blocks=3)), 'timm_args'),
    ],
)
def test_what_cannot_be_is_refused(arguments, fact):
    with pytest.raises(UserError) as error:
        on_meta(arguments.pop('model_name'), **arguments)
    assert fact in error.value.facts


def test_input_must_be_images_large_enough():
    backbone = TimmFeatures('resnet18')
    for shape in ((1, 4, 64, 64), (3, 64, 64), (1, 3, 16, 64)):
        with pytest.raises(UserError) as error:
            backbone(torch.randn(shape))
        assert error.value.facts['shape'] == shape


def test_it_is_registered_and_copies_as_configs_do():
    cfg = ConfigDict(type='TimmFeatures', model_name='resnet18', out_indices=[1, -1], timm_args=dict(output_stride=32))
    backbone = MODELS.build(cfg)
    assert backbone.out_indices == (1, 3)
    assert backbone.out_channels == (128, 512)


def test_layers_of_single_are_refused():
    """They are the blocks of a ConvNeXt; another network's would get rates that no paper has."""
    backbone = small('resnet18')
    with pytest.raises(UserError) as caught:
        backbone.num_layers('single')
    assert caught.value.facts['decay_type'] == 'single'
