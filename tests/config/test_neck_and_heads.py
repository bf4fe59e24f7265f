"""What follows from the backbone, as far as a pyramid's levels by their strides and whole models that run."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope

from mmconvnext.config.backbone import backbone_path, find_backbone
from mmconvnext.config.neck_and_heads import match_backbone
from mmconvnext.config.prepare import load_config
from mmconvnext.config.pretrained import check_weights
from mmconvnext.config_tree import walk
from mmconvnext.errors import UserError

DETECTORS = {
    'mask_rcnn': 'mask_rcnn_convnext_t_3x',
    'cascade': 'cascade_convnext_t_3x',
    'faster': 'faster_rcnn_convnext_t_3x',
    'cascade_boxes': 'cascade_rcnn_convnext_t_3x',
    'retinanet': 'retinanet_convnext_t_3x',
    'dino': 'dino_convnext_t_1x',
}


@pytest.fixture
def load(root):
    def load(name, **options):
        name = f'detection/{DETECTORS[name]}' if name in DETECTORS else f'segmentation/{name}_convnext_t_160k'
        options = {f'model.{key.replace("__", ".")}': value for key, value in options.items()}
        return load_config(root / f'configs/{name}.py', options)

    return load


def strides(model, key):
    return [node[key] for node in walk(model) if key in node]


@pytest.mark.parametrize('name', ['mask_rcnn', 'cascade', 'faster', 'cascade_boxes'])
@pytest.mark.parametrize(
    ('out_indices', 'levels'),
    [([1, 2, 3], [8, 16, 32, 64]), ([0, 1, 2], [4, 8, 16, 32]), ([0, 3], [4, 32, 64]), ([-1], [32, 64])],
)
def test_anchors_and_roi_extractors_follow_out_indices(load, name, out_indices, levels):
    model = load(name, backbone__out_indices=out_indices).model
    assert model.neck.num_outs == len(levels)
    assert strides(model, 'strides') == [levels]
    # The last level is of the RPN alone
    assert strides(model, 'featmap_strides') == [levels[:-1]] * (1 if name in ('faster', 'cascade_boxes') else 2)


@pytest.mark.parametrize(
    ('out_indices', 'levels'),
    [([0, 1, 2, 3], [4, 8, 16, 32, 64, 128]), ([0, 1, 2], [4, 8, 16, 32, 64]), ([2, 3], [16, 32, 64, 128])],
)
def test_retinanet_keeps_two_levels_beyond_the_backbones(load, out_indices, levels):
    model = load('retinanet', backbone__out_indices=out_indices).model
    assert (model.neck.num_outs, model.bbox_head.anchor_generator.strides) == (len(levels), levels)
    assert load('retinanet').model.bbox_head.anchor_generator.strides == [8, 16, 32, 64, 128]


@pytest.mark.parametrize('out_indices', [[0, 1, 2, 3], [2, 3]])
def test_dino_keeps_its_number_of_levels(load, out_indices):
    model = load('dino', backbone__out_indices=out_indices).model
    assert model.neck.in_channels == [(96, 192, 384, 768)[i] for i in out_indices]
    assert model.neck.num_outs == model.encoder.layer_cfg.self_attn_cfg.num_levels == 4


def test_levels_that_options_set_themselves_stay(load):
    model = load('mask_rcnn', backbone__out_indices=[1, 2, 3], neck__num_outs=5).model
    assert model.rpn_head.anchor_generator.strides == [8, 16, 32, 64, 128]
    assert strides(model, 'featmap_strides') == [[8, 16, 32]] * 2
    model = load(
        'mask_rcnn', backbone__out_indices=[1, 2, 3], roi_head__bbox_roi_extractor__featmap_strides=[8, 16, 32, 64]
    ).model
    assert strides(model, 'featmap_strides') == [[8, 16, 32, 64], [8, 16, 32]]


def test_what_followed_stays_when_it_follows_again(load):
    model = load('mask_rcnn', backbone__out_indices=[1, 2, 3]).model
    before = model.to_dict()
    match_backbone(model)
    assert model.to_dict() == before


@pytest.mark.parametrize('name', ['mask_rcnn', 'retinanet'])
def test_anchors_lie_on_the_levels_that_neck_and_backbone_compute(load, name, toy):
    cfg = load(name, backbone__out_indices=[0, 1, 2], backbone__arch=dict(toy, _delete_=True), neck__out_channels=256)
    init_default_scope('mmdet')
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    features = model.extract_feat(torch.zeros(1, 3, 128, 256))
    head = model.rpn_head if name == 'mask_rcnn' else model.bbox_head
    assert [128 // f.shape[2] for f in features] == [s[0] for s in head.prior_generator.strides]
    assert len(head(features)[0]) == head.prior_generator.num_levels


@pytest.mark.parametrize(
    ('options', 'instead'),
    [
        (dict(neck__start_level=1), [1, 2, 3]),
        (dict(neck__end_level=2), [0, 1, 2]),
    ],
)
def test_unused_output_norm_is_refused_with_what_to_set_instead(load, options, instead):
    with pytest.raises(UserError) as error:
        load('mask_rcnn', **options)
    assert error.value.facts == dict(out_indices=instead)
    with pytest.raises(UserError) as error:
        load('retinanet', neck__start_level=1, backbone__out_indices=[0, 1, 2, 3])
    assert error.value.facts == dict(out_indices=[1, 2, 3])


def test_too_few_levels_is_a_sentence(load):
    with pytest.raises(UserError) as error:
        load('mask_rcnn', neck__num_outs=3)
    assert error.value.facts == dict(key='model.neck.num_outs')


def test_in_index_beyond_the_outputs_is_a_sentence(load):
    with pytest.raises(UserError) as error:
        load('upernet', backbone__out_indices=[1, 2, 3])
    assert error.value.facts == dict(key='model.decode_head.in_index')
    with pytest.raises(UserError) as error:
        load('upernet', backbone__out_indices=[1, 3], decode_head__in_index=[0, 1])
    assert error.value.facts == dict(key='model.auxiliary_head.in_index')
    model = load('upernet', backbone__out_indices=[1, 3], decode_head__in_index=[0, -1], auxiliary_head__in_index=0)
    assert (model.model.decode_head.in_channels, model.model.auxiliary_head.in_channels) == ([192, 768], 192)


def test_lists_of_necks_and_necks_without_widths(load):
    fpn = dict(type='FPN', in_channels=[1, 2, 3, 4], out_channels=256, num_outs=5)
    refinement = dict(type='BFP', in_channels=256, num_levels=5)
    model = load('mask_rcnn', neck=[fpn, refinement], backbone__out_indices=[1, 2, 3]).model
    assert (model.neck[0].in_channels, model.neck[0].num_outs) == ([192, 384, 768], 5)
    assert model.neck[1] == refinement
    assert model.rpn_head.anchor_generator.strides == [8, 16, 32, 64, 128]

    other = dict(type='Own', _delete_=True)
    assert load('mask_rcnn', neck=other).model.neck == dict(type='Own')
    with pytest.raises(UserError, match='Own') as error:
        load('mask_rcnn', neck=other, backbone__out_indices=[1, 2, 3])
    assert error.value.facts == dict(key='model.backbone.out_indices')


def test_strides_of_a_head_of_its_own_are_refused_if_they_differ(load):
    with pytest.raises(UserError) as error:
        load('retinanet', backbone__out_indices=[0, 1, 2], bbox_head__strides=[8, 16, 32, 64, 128])
    assert error.value.facts == dict(key='model.bbox_head.strides', levels=[4, 8, 16, 32, 64])


def test_nested_model_is_followed_where_it_is():
    inner = dict(backbone=dict(type='ConvNeXt', arch='atto'), decode_head=dict(in_index=3, in_channels=768))
    model = ConfigDict(type='Wrapper', module=inner)
    match_backbone(model)
    assert backbone_path(model) == ('module', 'backbone')
    assert model.module.decode_head.in_channels == 320


@pytest.mark.parametrize(
    ('config', 'options', 'checkpoint'),
    [
        ('detection/mask_rcnn_convnext_t_3x', {'arch': 'base'}, 'convnext_base.in1k'),
        ('detection/dino_convnext_t_1x', {'arch': 'xlarge'}, 'convnext_xlarge.in22k'),
        ('detection/mask_rcnn_convnextv2_t_3x', {'arch': 'huge'}, 'convnextv2_huge.fcmae_ft_in1k'),
        ('segmentation/upernet_convnext_t_dinov3_160k', {'arch': 'large'}, 'convnext_large.dinov3_lvd1689m'),
        ('detection/mask_rcnn_convnext_t_3x', {'arch': 'base', 'init_cfg.checkpoint': 'own.pth'}, 'own.pth'),
        ('detection/mask_rcnn_convnext_t_3x', {'drop_path_rate': 0.1}, 'convnext_tiny.in1k'),
    ],
)
def test_named_weights_follow_the_arch(root, config, options, checkpoint):
    cfg = load_config(root / f'configs/{config}.py', {f'model.backbone.{k}': v for k, v in options.items()})
    assert cfg.model.backbone.init_cfg.checkpoint == checkpoint
    check_weights(cfg.model)


@pytest.mark.parametrize(
    ('options', 'fitting'),
    [
        (dict(arch='xlarge'), 'convnext_xlarge.in22k'),
        (dict(version=2), 'convnextv2_tiny.fcmae_ft_in1k'),
        (dict(arch='nano'), None),
        (dict(arch=dict(depths=[1] * 4, widths=[8] * 4, _delete_=True)), None),
    ],
)
def test_weights_that_no_longer_fit_name_those_that_do(load, options, fitting):
    cfg = load('mask_rcnn', **{f'backbone__{key}': value for key, value in options.items()})
    with pytest.raises(UserError, match='--pretrained none') as error:
        check_weights(cfg.model)
    assert error.value.facts['weights'] == 'convnext_tiny.in1k'
    assert fitting in error.value.facts['fitting'] if fitting else error.value.facts['fitting'] == []


def test_version_2_alone_drops_the_inherited_layer_scale(load, root):
    backbone = find_backbone(load('mask_rcnn', backbone__version=2).model)
    assert 'layer_scale_init_value' not in backbone
    with pytest.raises(UserError, match='layer_scale_init_value'):
        load('mask_rcnn', backbone__version=2, backbone__layer_scale_init_value=1.0)


def test_mmpretrains_backbone_is_told_what_to_write():
    model = ConfigDict(type='MaskRCNN', backbone=dict(type='mmpretrain.ConvNeXt', arch='tiny'))
    with pytest.raises(UserError, match=r"type='ConvNeXt'.*'mmconvnext'"):
        find_backbone(model)
