import importlib
import re

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from torch import nn

from mmconvnext.backbones import ARCHS, ConvNeXt, DenseBackbone
from mmconvnext.backbones.staged import derive_num_layers


class Detector(nn.Module):
    def __init__(self, **backbone):
        super().__init__()
        self.backbone = ConvNeXt(**backbone)
        self.head = nn.Linear(4, 2)


def build(
    model,
    decay_type='layer_wise',
    decay_rate=2.0 / 4,
    lr=1.0,
    constructor='LayerDecayOptimWrapperConstructor',
    **paramwise,
):
    cfg = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=lr, weight_decay=0.05),
        constructor=constructor,
        paramwise_cfg=dict(decay_rate=decay_rate, decay_type=decay_type, **paramwise),
    )
    return build_optim_wrapper(model, cfg)


def by_name(model, wrapper, key):
    """{parameter name: value of its group}."""
    names = {id(p): n for n, p in model.named_parameters()}
    return {names[id(p)]: group[key] for group in wrapper.optimizer.param_groups for p in group['params']}


def expected_steps(name, depths, decay_type):
    """Layers between a parameter and the head, written from the authors' rules case by case."""
    n = {4: 5, 6: 5, 8: 6, 9: 6, 27: 12}[depths[2]]
    if not name.startswith('backbone.') or '.norm' in name[:14]:
        return 0
    part, stage, *rest = name.removeprefix('backbone.').split('.')
    stage = int(stage)
    if decay_type == 'single':  # each block, with the downsampling layer before its stage; and the stem
        block = int(rest[0]) if part == 'stages' else 0
        return sum(depths[stage:]) - block
    if decay_type == 'stage_wise':
        layer = 0 if part == 'downsample_layers' else stage + 1
    elif part == 'downsample_layers':
        layer = {0: 0, 1: 2, 2: 3, 3: n}[stage]
    else:
        layer = {0: 1, 1: 2, 2: 3 + int(rest[0]) // 3, 3: n}[stage]
    return n + 1 - layer


@pytest.mark.parametrize('decay_type', ['layer_wise', 'stage_wise', 'single'])
@pytest.mark.parametrize('depths', [(1, 2, 4, 1), (2, 2, 6, 2), (2, 2, 8, 2), (3, 3, 9, 3), (3, 3, 27, 3)])
@pytest.mark.parametrize('version', [1, 2])
def test_every_parameter_follows_the_authors_rules(depths, decay_type, version):
    model = Detector(arch=dict(depths=depths, widths=(4, 4, 4, 4)), version=version)
    wrapper = build(model, decay_type, decay_rate=0.5)
    lrs, decays = by_name(model, wrapper, 'lr'), by_name(model, wrapper, 'weight_decay')
    assert set(lrs) == {n for n, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert lrs[name] == 0.5 ** expected_steps(name, depths, decay_type), name
        undecayed = parameter.ndim == 1 or name.endswith('.bias')
        assert decays[name] == (0 if undecayed else 0.05), name


def test_num_layers_is_the_authors_for_every_size():
    derived = {name: derive_num_layers(arch.depths) for name, arch in ARCHS.items()}
    assert derived == dict(atto=5, femto=5, pico=5, nano=6, tiny=6, small=12, base=12, large=12, xlarge=12, huge=12)


def test_identical_groups_are_merged(toy):
    groups = build(Detector(arch=toy)).optimizer.param_groups
    assert len(groups) == len({(g['lr'], g['weight_decay']) for g in groups})
    # Layers 0 to 5 and the head, each with and without weight decay
    assert len(groups) == 14


def test_grn_vectors_have_no_weight_decay_whatever_their_shape(toy):
    model = Detector(arch=toy, version=2)
    for block in (b for stage in model.backbone.stages for b in stage):
        block.grn.gamma = nn.Parameter(block.grn.gamma[None, None, None])
    decays = by_name(model, build(model), 'weight_decay')
    assert {v for n, v in decays.items() if 'grn' in n} == {0.0}


def test_contradicted_num_layers_is_refused(toy):
    build(Detector(arch=toy), num_layers=5)
    with pytest.raises(ValueError, match=r'num_layers=12 contradicts the model: backbone has 5'):
        build(Detector(arch=toy), num_layers=12)


def test_custom_keys_multiply_and_the_longest_wins(toy):
    model = Detector(arch=toy)
    keys = {
        'backbone': dict(lr_mult=10.0),
        'backbone.norm3': dict(lr_mult=3.0, decay_mult=0.0),
        'head': dict(decay_mult=2),
    }
    wrapper = build(model, custom_keys=keys)
    lrs, decays = by_name(model, wrapper, 'lr'), by_name(model, wrapper, 'weight_decay')
    assert lrs['backbone.stages.3.0.pwconv1.weight'] == 10 * 0.5
    assert lrs['backbone.norm3.weight'] == 3
    assert decays['head.weight'] == 0.1
    with pytest.raises(ValueError, match='bakbone matches no trainable parameter'):
        build(model, custom_keys={'bakbone': dict(lr_mult=1.0)})


def test_another_backbone_tells_its_layers_and_what_is_not_decayed(toy):
    class Other(DenseBackbone):
        """Two layers, in the order of their names."""

        def __init__(self):
            super().__init__()
            self.first, self.second, self.norm = nn.Linear(2, 2), nn.Linear(2, 2), nn.LayerNorm(2)
            self.table = nn.Parameter(torch.ones(2, 2))

        def num_layers(self, decay_type):
            return 2 if decay_type == 'layer_wise' else 1

        def layer_of(self, name, decay_type):
            order = dict(first=0, table=1, second=self.num_layers(decay_type), norm=self.num_layers(decay_type) + 1)
            return order[name.split('.')[0]]

        def no_weight_decay(self):
            return {'table'}

    model = nn.ModuleDict(dict(backbone=nn.ModuleDict(dict(module=Other())), other=ConvNeXt(toy)))
    lrs, decays = (by_name(model, build(model, decay_rate=0.5), key) for key in ('lr', 'weight_decay'))
    prefix = 'backbone.module'
    scales = {name: lrs[f'{prefix}.{name}'] for name in ('first.weight', 'table', 'second.weight', 'norm.weight')}
    assert list(scales.values()) == [0.5**3, 0.5**2, 0.5, 1]
    assert lrs['other.stages.0.0.gamma'] == 0.5**5
    assert [name for name, decay in decays.items() if name.startswith(prefix) and decay] == [
        f'{prefix}.first.weight',
        f'{prefix}.second.weight',
    ]
    assert by_name(model, build(model, 'stage_wise', decay_rate=0.5), 'lr')[f'{prefix}.first.weight'] == 0.5**2


def test_backbones_nested_anywhere(toy):
    class Distiller(nn.Module):
        def __init__(self):
            super().__init__()
            self.student = Detector(arch=toy)
            self.teacher = Detector(arch=dict(depths=(1, 1, 9, 1), widths=(4, 4, 4, 4)))

    model = Distiller()
    lrs = by_name(model, build(model), 'lr')
    assert lrs['student.backbone.stages.3.0.gamma'] == 0.5
    assert lrs['teacher.backbone.stages.0.0.gamma'] == 0.5**6
    assert lrs['teacher.head.weight'] == 1
    model.teacher.requires_grad_(False)
    assert not any(name.startswith('teacher') for name in by_name(model, build(model), 'lr'))


def test_bare_and_compiled_backbones(toy):
    model = ConvNeXt(toy)
    assert by_name(model, build(model), 'lr')['stages.0.0.gamma'] == 0.5**5
    detector = Detector(arch=toy)
    detector.backbone = torch.compile(detector.backbone)
    lrs = by_name(detector, build(detector), 'lr')
    assert lrs['backbone._orig_mod.stages.0.0.gamma'] == 0.5**5


def test_frozen_parameters_are_left_out(toy):
    model = Detector(arch=toy, frozen_stages=2)
    names = set(by_name(model, build(model), 'lr'))
    assert names == {n for n, p in model.named_parameters() if p.requires_grad}
    assert not any('stages.1.' in n for n in names)


def test_model_without_convnext_is_an_error():
    with pytest.raises(ValueError, match='found no ConvNeXt in Linear'):
        build(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ('paramwise', 'words'),
    [
        (dict(decay_rate=0), 'above 0 and at most 1'),
        (dict(decay_rate=1.5), 'above 0 and at most 1'),
        (dict(decay_rate=True), 'above 0 and at most 1'),
        (dict(decay_type='block_wise'), 'layer_wise, stage_wise, single'),
        (dict(norm_decay_mult=0), 'options are decay_rate'),
        (dict(custom_keys={'head': dict(lr_multi=0.1)}), 'with lr_mult, decay_mult or both'),
        (dict(custom_keys={'head': 0.1}), 'with lr_mult, decay_mult or both'),
        (dict(custom_keys={'head': dict(lr_mult=-1)}), "custom_keys['head'].lr_mult=-1 must be a number of at least 0"),
        (dict(custom_keys={'head': dict(lr_mult='a')}), "custom_keys['head'].lr_mult='a' must be a number"),
        (dict(custom_keys={'head': dict(decay_mult=float('nan'))}), "custom_keys['head'].decay_mult=nan must be"),
        (dict(custom_keys={'head': dict(decay_mult=True)}), "custom_keys['head'].decay_mult=True must be a number"),
        (dict(num_layers='5'), "num_layers='5' must be an integer"),
        (dict(num_layers=5.0), 'num_layers=5.0 must be an integer'),
        (dict(lr='abc'), "lr='abc' must be a number"),
    ],
)
def test_wrong_option_says_what_is_allowed(toy, paramwise, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        build(Detector(arch=toy), **paramwise)


def test_official_name_in_this_packages_scope(toy):
    from mmdet.registry import OPTIM_WRAPPER_CONSTRUCTORS

    constructor = OPTIM_WRAPPER_CONSTRUCTORS.get('mmconvnext.LearningRateDecayOptimizerConstructor')
    assert constructor.__name__ == 'LayerDecayOptimWrapperConstructor'
    assert MODELS.get('mmconvnext.ConvNeXt') is ConvNeXt


@pytest.mark.parametrize('package', ['mmdet', 'mmseg'])
@pytest.mark.parametrize('decay_type', ['layer_wise', 'stage_wise'])
@pytest.mark.parametrize('version', [1, 2])
def test_the_constructors_of_openmmlabs_configs_give_this_backbone_the_same(toy, package, decay_type, version):
    importlib.import_module(f'{package}.engine')  # registers it
    model = Detector(arch=toy, version=version)
    ours = build(model, decay_type, decay_rate=0.9)
    constructor = f'{package}.LearningRateDecayOptimizerConstructor'
    theirs = build(model, decay_type, decay_rate=0.9, num_layers=5, constructor=constructor)
    for key in ('lr', 'weight_decay'):
        assert by_name(model, ours, key) == pytest.approx(by_name(model, theirs, key), rel=1e-12)


def test_log_has_a_line_for_each_layer(toy, capsys):
    from mmengine.logging import MMLogger

    MMLogger.get_instance('layer_decay_log_test', log_level='INFO')
    build(Detector(arch=toy), lr=1e-4)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    table = {line[0]: line[1:] for line in lines if line and line[0].isdigit()}
    assert set(table) == {'0', '1', '2', '3', '4', '5', '6'}
    # Stem: conv weight and bias, norm weight and bias; all but the first undecayed
    assert table['0'] == ['0.01562', '1.56e-06', '4', '3']
    assert table['6'][:2] == ['1', '0.0001']
