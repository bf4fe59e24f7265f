import copy
import importlib.util
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmconvnext.backbones import ConvNeXt
from mmconvnext.backbones.convnext import Block
from mmconvnext.backbones.layers import GRN, LayerNorm2d
from mmconvnext.errors import UserError


def randomize(model: nn.Module) -> nn.Module:
    """Gives every parameter a value of its own, so that a swapped or skipped one shows."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2 if parameter.ndim > 1 else 1.0)
    return model


def weights_from_timm(state: dict) -> dict:
    """timm's names to the authors', written out independently of mmconvnext.checkpoints."""
    renamed = {}
    for name, tensor in state.items():
        part, *rest = name.split('.')
        if part == 'stem':
            renamed['.'.join(['downsample_layers.0', *rest])] = tensor
        elif rest[1] == 'downsample':
            renamed['.'.join([f'downsample_layers.{rest[0]}', *rest[2:]])] = tensor
        else:
            tail = '.'.join(rest[3:])
            for theirs, ours in (('conv_dw', 'dwconv'), ('mlp.fc', 'pwconv'), ('mlp.grn.weight', 'grn.gamma')):
                tail = tail.replace(theirs, ours)
            tail = tail.replace('mlp.grn.bias', 'grn.beta')
            # timm's small V2 models have 1x1 convolutions for the linear layers
            renamed[f'stages.{rest[0]}.{rest[2]}.{tail}'] = (
                tensor.flatten(1) if 'pwconv' in tail and tensor.ndim > 1 else tensor
            )
    return renamed


@pytest.mark.parametrize(('arch', 'version', 'peer'), [('tiny', 1, 'convnext_tiny'), ('atto', 2, 'convnextv2_atto')])
def test_outputs_equal_timms(arch, version, peer):
    theirs = timm.create_model(peer, features_only=True).eval()
    ours = ConvNeXt(arch, version, layer_scale_init_value=1.0 if version == 1 else None).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            scale = 0.02 if parameter.ndim > 1 else 0.3
            parameter.copy_(scale * torch.randn_like(parameter) + (1 if name.endswith('norm.weight') else 0))
        weights = weights_from_timm(
            {n.replace('stem_', 'stem.').replace('stages_', 'stages.'): p for n, p in theirs.state_dict().items()}
        )
        missing, unexpected = ours.load_state_dict(weights, strict=False)
        assert not unexpected
        assert set(missing) == {f'norm{i}.{p}' for i in range(4) for p in ('weight', 'bias')}
        # timm returns the stages as they are: ours through the identity
        for i in range(4):
            setattr(ours, f'norm{i}', nn.Identity())
        x = torch.randn(2, 3, 64, 96)
        for ours_out, theirs_out in zip(ours(x), theirs(x)):
            assert (ours_out - theirs_out).abs().max() <= 1e-4


def test_output_norm_is_layer_norm_of_the_stage(toy):
    model = randomize(ConvNeXt(toy)).eval()
    plain = copy.deepcopy(model)
    plain.norm2 = nn.Identity()
    x = torch.randn(1, 3, 64, 96)
    expected = nn.functional.layer_norm(
        plain(x)[2].permute(0, 2, 3, 1), (12,), model.norm2.weight, model.norm2.bias, 1e-6
    ).permute(0, 3, 1, 2)
    torch.testing.assert_close(model(x)[2], expected)


@pytest.mark.parametrize(('version', 'millions'), [(1, {'tiny': 28.6, 'base': 88.6}), (2, {'atto': 3.7, 'huge': 660})])
def test_parameter_counts_are_the_papers(version, millions):
    for arch, expected in millions.items():
        with torch.device('meta'):
            model = ConvNeXt(arch, version, out_indices=(3,))
        classifier = model.out_channels[-1] * 1000 + 1000
        count = sum(p.numel() for p in model.parameters()) + classifier
        assert count / 1e6 == pytest.approx(expected, rel=0.015)


@pytest.mark.parametrize('size', [(32, 32), (64, 96), (33, 47), (50, 70), (65, 127)])
def test_shapes_of_any_input_size(toy, size):
    model = ConvNeXt(toy)
    outs = model(torch.randn(2, 3, *size))
    for out, channels, stride in zip(outs, model.out_channels, model.out_strides):
        assert out.shape == (2, channels, size[0] // stride, size[1] // stride)
        assert out.is_contiguous(memory_format=torch.channels_last)


def test_every_parameter_gets_a_finite_gradient(toy):
    for version in (1, 2):
        model = ConvNeXt(toy, version, layer_scale_init_value=1.0 if version == 1 else None, drop_path_rate=0.1)
        sum(out.square().mean() for out in model(torch.randn(4, 3, 64, 96))).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_first_weights_are_the_papers():
    model = ConvNeXt('tiny')
    weight = model.stages[2][0].pwconv1.weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.stages[2][0].pwconv1.bias.abs().max() == 0
    assert model.stages[0][0].gamma.unique().tolist() == [pytest.approx(1e-6)]
    assert all(m.eps == 1e-6 for m in model.modules() if isinstance(m, nn.LayerNorm))


def test_drop_path_rates_grow_linearly_over_the_papers_blocks(toy):
    model = ConvNeXt(toy, drop_path_rate=0.7)
    rates = [block.drop_path.rate for stage in model.stages for block in stage]
    assert rates == pytest.approx([0.1 * i for i in range(8)])
    shorter = ConvNeXt(toy, drop_path_rate=0.7, out_indices=(0, 1))
    assert [b.drop_path.rate for s in shorter.stages for b in s] == pytest.approx([0, 0.1, 0.2])


@pytest.mark.parametrize(
    ('given', 'resolved'),
    [
        ([0, 3], (0, 3)),
        ((-1,), (3,)),
        ([-2, 0], (0, 2)),
        (range(3), (0, 1, 2)),
        ((1,), (1,)),
        (np.array([2, 0]), (0, 2)),
        (torch.tensor([3, -4]), (0, 3)),
    ],
)
def test_out_indices(toy, given, resolved):
    before = list(given)
    model = ConvNeXt(toy, out_indices=given)
    assert list(given) == before
    assert all(type(i) is int for i in model.out_indices)
    assert model.out_indices == resolved
    assert len(model.stages) == len(model.downsample_layers) == resolved[-1] + 1
    assert {n for n, _ in model.named_children() if n.startswith('norm')} == {f'norm{i}' for i in resolved}
    full = ConvNeXt(toy).eval()
    full.load_state_dict(model.state_dict(), strict=False)
    x = torch.randn(1, 3, 64, 96)
    for out, i in zip(model.eval()(x), resolved):
        torch.testing.assert_close(out, full(x)[i])


@pytest.mark.parametrize('frozen', [-1, 0, 1, 2, 4])
def test_frozen_stages_do_not_change_in_a_step(toy, frozen):
    model = ConvNeXt(toy, frozen_stages=frozen, drop_path_rate=0.5, layer_scale_init_value=1.0)
    assert model.train() is model
    before = copy.deepcopy(model.state_dict())
    trainable = [p for p in model.parameters() if p.requires_grad]
    if trainable:
        optimizer = torch.optim.AdamW(trainable, lr=0.1, weight_decay=0.1)
        sum(out.square().mean() for out in model(torch.randn(8, 3, 64, 96))).backward()
        optimizer.step()
    unchanged = {name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])}
    stem = {n for n in before if n.startswith('downsample_layers.0.')}
    stages = {
        n
        for n in before
        for i in range(max(frozen, 0))
        if n.startswith((f'downsample_layers.{i}.', f'stages.{i}.', f'norm{i}.'))
    }
    assert unchanged == (stem | stages if frozen >= 0 else set())
    for i, stage in enumerate(model.stages):
        assert all(block.drop_path.training == (i >= frozen) for block in stage)
    assert not model.eval().training


def test_checkpointing_changes_neither_outputs_nor_gradients(toy):
    plain = randomize(ConvNeXt(toy, version=2, drop_path_rate=0.5)).double()
    stored = ConvNeXt(toy, version=2, drop_path_rate=0.5, with_cp=True).double()
    stored.load_state_dict(plain.state_dict())
    x = torch.randn(4, 3, 64, 96, dtype=torch.double)
    results = []
    for model in (plain, stored):
        torch.manual_seed(1)
        outs = model(x)
        sum(out.square().sum() for out in outs).backward()
        results.append((*outs, *(p.grad for p in model.parameters())))
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_checkpointing_stores_less(toy):
    def saved_bytes(with_cp: bool) -> int:
        total = 0

        def count(tensor):
            nonlocal total
            total += tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            ConvNeXt(toy, with_cp=with_cp)(torch.randn(1, 3, 64, 96))
        return total

    assert saved_bytes(True) < 0.6 * saved_bytes(False)


def test_any_number_of_input_channels(toy):
    assert len(ConvNeXt(toy, in_channels=7)(torch.randn(1, 7, 64, 96))) == 4


def layer_norm_as_written(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Every step in the input's dtype, over the last dimension."""
    x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def grn_as_written(grn: GRN, x: Tensor) -> Tensor:
    """Every step in the input's dtype, over (B, H, W, C)."""
    energy = x.square().sum((1, 2), keepdim=True).sqrt()
    return grn.gamma * (x * (energy / (energy.mean(-1, keepdim=True) + grn.eps))) + grn.beta + x


def large_model(toy: dict, version: int) -> ConvNeXt:
    """Its stem and its depthwise convolutions reach hundreds, its GRNs sum the squares of units over 65536 pixels."""
    model = ConvNeXt(toy, version, layer_scale_init_value=1.0 if version == 1 else None).eval().requires_grad_(False)
    nn.init.normal_(model.downsample_layers[0][0].weight, std=0.2)
    for block in (block for stage in model.stages for block in stage):
        nn.init.normal_(block.dwconv.weight, std=100)
        nn.init.normal_(block.pwconv1.weight, std=1)
        nn.init.normal_(block.pwconv2.weight, std=0.1)
        if version == 2:
            nn.init.normal_(block.grn.gamma)
            nn.init.normal_(block.grn.beta)
    return model


def mean_errors(outs: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> list[float]:
    # Outputs are normalized, so an absolute error means something
    return [(out.float() - reference).abs().mean().item() for out, reference in zip(outs, exact)]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('version', [1, 2])
def test_half_precision_with_large_inputs_at_1024(toy, dtype, version):
    model = large_model(toy, version)
    x = 1000 * torch.randn(1, 3, 1024, 1024)
    exact = model(x)
    outs = model.to(dtype)(x.to(dtype))
    assert {out.dtype for out in outs} == {dtype}
    assert max(mean_errors(outs, exact)) < (0.01 if dtype == torch.float16 else 0.05)


@pytest.mark.parametrize('culprit', ['norm of a map', 'norm of a block', 'grn'])
def test_half_precision_at_1024_would_show_statistics_in_half(toy, culprit, monkeypatch):
    """The control of the test before this one: on its input, statistics taken in float16 are wrong."""

    def block_as_written(block: Block, x: Tensor) -> Tensor:
        norm = layer_norm_as_written if culprit == 'norm of a block' else nn.LayerNorm.forward
        grn = grn_as_written if culprit == 'grn' else GRN.forward
        y = block.dwconv(x).permute(0, 2, 3, 1)
        y = nn.functional.gelu(block.pwconv1(norm(block.norm, y)))
        return x + block.pwconv2(grn(block.grn, y)).permute(0, 3, 1, 2)

    def map_norm_as_written(norm: LayerNorm2d, x: Tensor) -> Tensor:
        return layer_norm_as_written(norm, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    model = large_model(toy, version=2)
    x = 1000 * torch.randn(1, 3, 1024, 1024)
    exact = model(x)
    if culprit == 'norm of a map':
        monkeypatch.setattr(LayerNorm2d, 'forward', map_norm_as_written)
    else:
        monkeypatch.setattr(Block, 'forward', block_as_written)
    assert max(mean_errors(model(x), exact)) < 1e-4
    assert not max(mean_errors(model.half()(x.half()), exact)) < 0.05  # nan is not, either


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_complete_and_independent(toy, copied):
    model = randomize(ConvNeXt(toy, version=2, frozen_stages=1, drop_path_rate=0.1))
    other = copied(model)
    x = torch.randn(1, 3, 64, 96)
    for ours, theirs in zip(model.eval()(x), other.eval()(x)):
        torch.testing.assert_close(theirs, ours, rtol=0, atol=0)
        assert theirs.is_contiguous(memory_format=torch.channels_last)
    assert [p.requires_grad for p in other.parameters()] == [p.requires_grad for p in model.parameters()]
    assert not other.train().stages[0].training
    before = copy.deepcopy(model.state_dict())
    randomize(other)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_moving_average_of_the_weights(toy):
    model = ConvNeXt(toy)
    average = ExponentialMovingAverage(model, momentum=0.25)
    first = copy.deepcopy(model.state_dict())
    average.update_parameters(model)  # the first step copies
    randomize(model)
    average.update_parameters(model)
    for name, tensor in average.module.state_dict().items():
        torch.testing.assert_close(tensor, 0.75 * first[name] + 0.25 * model.state_dict()[name])


def test_autocast_equals_float32_to_rounding(toy):
    model = randomize(ConvNeXt(toy, version=2)).eval()
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        exact = model(x)
        with torch.autocast('cpu', torch.bfloat16):
            rounded = model(x)
    for out, reference in zip(rounded, exact):
        error = (out.float() - reference).norm() / reference.norm()
        assert error < 0.05


def test_registered_at_the_root_so_that_both_libraries_find_it(toy):
    import mmdet.registry
    import mmseg.registry

    for registry in (MODELS, mmdet.registry.MODELS, mmseg.registry.MODELS):
        assert type(registry.build(dict(type='ConvNeXt', arch=toy))) is ConvNeXt
    assert registry.get('mmconvnext.ConvNeXt') is ConvNeXt


WRONG = {
    'version': (3, 2.0, True, '2', None),
    'in_channels': (0, 3.0, True, None),
    'drop_path_rate': (1.0, -0.1, float('nan'), None, '0.1', False),
    'layer_scale_init_value': (-1.0, float('nan'), float('inf'), '1', True, [1.0]),
    'out_indices': (
        (),
        (4,),
        (0, -4),  # the same stage twice
        2,
        None,
        '0',
        b'\x01',
        (i for i in range(2)),
        {0: 1},
        (0, 1.0),
        (True, 2),
        np.array([0.0, 1.0]),
        np.array(1),
        np.array([[0, 1]]),
        torch.tensor([True, False]),
    ),
    'frozen_stages': (5, -2, True, None, 1.0, '1'),
    'with_cp': ('False', 1, None),
    'init_cfg': ('tiny.pth', '', ['tiny.pth'], {'checkpoint': 'tiny.pth'}, {}),
    'arch': ('tinny',),
}


@pytest.mark.parametrize(('name', 'value'), [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong_values_are_refused_by_name(name, value):
    with pytest.raises(UserError) as error:
        ConvNeXt(**{name: value})
    assert error.value.facts['argument'].startswith(name)


@pytest.mark.parametrize(
    ('arguments', 'name'),
    [
        (dict(version=2, layer_scale_init_value=1.0), 'layer_scale_init_value'),
        (dict(frozen_stages=3, out_indices=(0, 1)), 'frozen_stages'),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(arguments, name):
    with pytest.raises(UserError) as error:
        ConvNeXt(**arguments)
    assert error.value.facts['argument'] == name


@pytest.mark.parametrize(
    ('name', 'value', 'right'),
    [
        ('in_chans', 3, 'in_channels'),
        ('depths', (3, 3, 9, 3), 'arch=dict(depths=..., widths=...)'),
        ('dims', (96,), 'arch=dict(depths=..., widths=...)'),
        ('pretrained', 'x.pth', 'init_cfg=dict('),
        ('use_grn', True, 'version=2'),
        ('drop_rate', 0.1, 'drop_path_rate'),  # among all of the names
    ],
)
def test_an_unknown_argument_is_refused_with_the_right_spelling(name, value, right):
    with pytest.raises(UserError, match=re.escape(right)) as error:
        ConvNeXt(**{name: value})
    assert error.value.facts['argument'] == name


@pytest.mark.parametrize('package', ['mmdet', 'mmseg'])
def test_backbones_of_openmmlabs_configs_build_with_the_type_changed(package):
    """Each of them gives gap_before_final_norm, which changes nothing here."""
    configs = Path(importlib.util.find_spec(package).origin).parent / '.mim/configs'
    paths = sorted(configs.glob('convnext/*.py')) + sorted(configs.glob('rtmdet/*convnext*.py'))
    assert len(paths) >= 3
    for path in paths:
        given = Config.fromfile(path, import_custom_modules=False).model.backbone
        assert given.type == 'mmpretrain.ConvNeXt'
        with torch.device('meta'):
            model = MODELS.build({**given, 'type': 'ConvNeXt'})
            expected = ConvNeXt(given.arch, out_indices=given.out_indices, layer_scale_init_value=1.0)
        assert model.state_dict().keys() == expected.state_dict().keys()


@pytest.mark.parametrize(
    ('name', 'same', 'other'),
    [
        ('gap_before_final_norm', False, True),
        ('linear_pw_conv', False, 'yes'),
        ('stem_patch_size', 4, 2),
        ('norm_cfg', dict(type='LN2d', eps=1e-6), dict(type='BN')),
        ('act_cfg', dict(type='GELU'), dict(type='ReLU')),
        ('norm_eval', False, True),
        ('use_grn', False, True),
    ],
)
def test_arguments_of_mmpretrain_that_change_nothing_are_taken_and_others_refused(toy, name, same, other):
    ConvNeXt(toy, **{name: same})
    with pytest.raises(UserError) as error:
        ConvNeXt(toy, **{name: other})
    assert error.value.facts['argument'] == name


def test_use_grn_is_version_2(toy):
    ConvNeXt(toy, version=2, use_grn=True, layer_scale_init_value=0.0)
    with pytest.raises(UserError) as error:
        ConvNeXt(toy, version=2, use_grn=False)
    assert error.value.facts['argument'] == 'use_grn'


def test_frozen_stages_0_of_mmpretrain_does_not_freeze_the_stem_in_silence(toy):
    ConvNeXt(toy, frozen_stages=0)
    ConvNeXt(toy, frozen_stages=1, gap_before_final_norm=False)
    with pytest.raises(UserError) as error:
        ConvNeXt(toy, frozen_stages=0, gap_before_final_norm=False)
    assert error.value.facts['argument'] == 'frozen_stages'


def test_channels_of_mmpretrain_are_widths(toy):
    with pytest.raises(UserError, match='widths') as error:
        ConvNeXt(dict(depths=toy['depths'], channels=toy['widths']))
    assert error.value.facts['argument'] == 'arch'


def test_numpy_numbers_are_taken_like_pythons(toy):
    computed = ConvNeXt(
        {name: np.array(values) for name, values in toy.items()},
        version=np.int64(1),
        in_channels=np.int32(3),
        drop_path_rate=np.float64(0.7),
        layer_scale_init_value=np.float64(0.5),
        frozen_stages=np.int64(1),
        with_cp=np.bool_(True),
    )
    plain = ConvNeXt(toy, drop_path_rate=0.7, layer_scale_init_value=0.5, frozen_stages=1, with_cp=True)
    assert computed.arch == plain.arch
    for name in ('version', 'in_channels', 'frozen_stages', 'with_cp'):
        assert getattr(computed, name) == getattr(plain, name)
        assert type(getattr(computed, name)) is type(getattr(plain, name))
    assert repr(computed) == repr(plain)
    assert computed.stages[0][0].gamma.tolist() == [0.5] * 4


def test_arguments_are_not_changed(toy):
    init_cfg = [dict(type='Pretrained', checkpoint='tiny.pth'), dict(type='Constant', layer='Linear', val=0.0)]
    given = dict(arch={name: list(values) for name, values in toy.items()}, out_indices=[3, 0], init_cfg=init_cfg)
    before = copy.deepcopy(given)
    model = ConvNeXt(**given)
    assert given == before
    model.init_cfg[0]['val'] = 1.0
    assert given == before


@pytest.mark.parametrize('shape', [(1, 4, 64, 96), (3, 64, 96)])
def test_an_input_of_another_shape_is_refused(toy, shape):
    with pytest.raises(UserError) as error:
        ConvNeXt(toy)(torch.randn(shape))
    assert error.value.facts['shape'] == shape


def test_an_input_that_is_too_small_is_refused(toy):
    with pytest.raises(UserError) as error:
        ConvNeXt(toy)(torch.randn(1, 3, 31, 96))
    assert error.value.facts['stride'] == 32
    assert len(ConvNeXt(toy, out_indices=(2,))(torch.randn(1, 3, 31, 96))) == 1
