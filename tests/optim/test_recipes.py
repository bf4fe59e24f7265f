"""Learning rate and weight decay of every single parameter of whole models, against the papers' rules written out here.

No name is parsed: the groups of a size are listed, and what is decayed follows from the kind of the layer.
"""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmconvnext.config.neck_and_heads import match_backbone
from tests.conftest import ROOT

# The group of each block of stage 3, by the number of blocks; the authors' num_layers is one more than the last
STAGE_3 = {
    6: [3, 3, 3, 4, 4, 4],
    8: [3, 3, 3, 4, 4, 4, 5, 5],
    9: [3, 3, 3, 4, 4, 4, 5, 5, 5],
    27: [3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10, 10, 11, 11, 11],
}
DEPTHS = {
    **dict.fromkeys(['atto', 'femto', 'pico'], (2, 2, 6, 2)),
    'nano': (2, 2, 8, 2),
    'tiny': (3, 3, 9, 3),
    **dict.fromkeys(['small', 'base', 'large', 'xlarge', 'huge'], (3, 3, 27, 3)),
}
NUM_LAYERS = {6: 5, 8: 6, 9: 6, 27: 12}

# Sections "Object detection" and "Semantic segmentation" of the authors' code: lr, decay rate and type, num_layers
RECIPES = {
    'detection/mask_rcnn_convnext_t_3x': ('tiny', 1e-4, 0.95, 'layer_wise', 6),
    'detection/cascade_convnext_t_3x': ('tiny', 2e-4, 0.7, 'layer_wise', 6),
    'detection/cascade_convnext_s_3x': ('small', 2e-4, 0.7, 'layer_wise', 12),
    'detection/cascade_convnext_b_3x': ('base', 2e-4, 0.8, 'layer_wise', 12),
    'detection/cascade_convnext_b_in22k_3x': ('base', 1e-4, 0.8, 'layer_wise', 12),
    'detection/cascade_convnext_l_in22k_3x': ('large', 1e-4, 0.7, 'layer_wise', 12),
    'detection/cascade_convnext_xl_in22k_3x': ('xlarge', 1e-4, 0.7, 'layer_wise', 12),
    'segmentation/upernet_convnext_t_160k': ('tiny', 1e-4, 0.9, 'stage_wise', 6),
    'segmentation/upernet_convnext_s_160k': ('small', 1e-4, 0.9, 'stage_wise', 12),
    'segmentation/upernet_convnext_b_160k': ('base', 1e-4, 0.9, 'stage_wise', 12),
    'segmentation/upernet_convnext_b_in22k_640_160k': ('base', 1e-4, 0.9, 'stage_wise', 12),
    'segmentation/upernet_convnext_l_in22k_640_160k': ('large', 1e-4, 0.9, 'stage_wise', 12),
    'segmentation/upernet_convnext_xl_in22k_640_160k': ('xlarge', 8e-5, 0.9, 'stage_wise', 12),
}


def groups_of(arch, decay_type):
    """Group of each layer of a backbone; what is not listed has that of the head."""
    depths = DEPTHS[arch]
    n = NUM_LAYERS[depths[2]]
    if decay_type == 'stage_wise':
        groups = {f'downsample_layers.{i}': 0 for i in range(4)}
        blocks = [[stage] * depth for stage, depth in enumerate(depths, start=1)]
    else:
        groups = {f'downsample_layers.{i}': group for i, group in enumerate((0, 2, 3, n))}
        blocks = [[1] * depths[0], [2] * depths[1], STAGE_3[depths[2]], [n] * depths[3]]
    return groups | {f'stages.{i}.{j}': group for i, stage in enumerate(blocks) for j, group in enumerate(stage)}


def expected(model, arch, lr, decay_rate, decay_type, weight_decay=0.05):
    """{parameter name: (learning rate, weight decay)}"""
    head = NUM_LAYERS[DEPTHS[arch][2]] + 1
    lrs = {name: lr for name, _ in model.named_parameters()}
    for layer, group in groups_of(arch, decay_type).items():
        for name, _ in model.backbone.get_submodule(layer).named_parameters():
            lrs[f'backbone.{layer}.{name}'] = lr * decay_rate ** (head - group)
    decayed = {
        f'{name}.weight'
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
    }
    return {name: (lr, weight_decay if name in decayed else 0.0) for name, lr in lrs.items()}


def actual(model, optim_wrapper):
    """{parameter name: (learning rate, weight decay)}, from the optimizer."""
    # Mixed precision and the fused kernel are the GPU's
    optim_wrapper = dict(optim_wrapper, type='OptimWrapper')
    optim_wrapper.pop('loss_scale', None)
    optim_wrapper['optimizer'] = {k: v for k, v in optim_wrapper['optimizer'].items() if k != 'fused'}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = build_optim_wrapper(model, optim_wrapper).optimizer.param_groups
    pairs = [(names[id(p)], (group['lr'], group['weight_decay'])) for group in groups for p in group['params']]
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def build(stem, **backbone):
    """A config's model, without memory for its parameters, and its optim_wrapper."""
    cfg = Config.fromfile(ROOT / f'configs/{stem}.py')
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.update(backbone)
    match_backbone(cfg.model)
    with torch.device('meta'):
        return MODELS.build(cfg.model), cfg.optim_wrapper


@pytest.mark.parametrize(('stem', 'recipe'), RECIPES.items(), ids=RECIPES)
def test_published_recipes(stem, recipe):
    arch, lr, decay_rate, decay_type, num_layers = recipe
    assert NUM_LAYERS[DEPTHS[arch][2]] == num_layers
    model, optim_wrapper = build(stem)
    assert actual(model, optim_wrapper) == expected(model, arch, lr, decay_rate, decay_type)


@pytest.mark.parametrize('decay_type', ['layer_wise', 'stage_wise'])
@pytest.mark.parametrize(
    ('arch', 'version'),
    [
        *((arch, 1) for arch in ('tiny', 'small', 'base', 'large', 'xlarge')),
        *((arch, 2) for arch in ('atto', 'femto', 'pico', 'nano', 'tiny', 'base', 'large', 'huge')),
    ],
)
def test_every_size(arch, version, decay_type):
    model, optim_wrapper = build(
        'detection/mask_rcnn_convnext_t_3x',
        arch=arch,
        version=version,
        layer_scale_init_value=1.0 if version == 1 else None,
    )
    optim_wrapper.paramwise_cfg = dict(decay_rate=0.7, decay_type=decay_type)
    assert actual(model, optim_wrapper) == expected(model, arch, 1e-4, 0.7, decay_type)
