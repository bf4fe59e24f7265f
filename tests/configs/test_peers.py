"""The rivals' configs: each is the recipe that its first line names, fits its network, and trains a step."""

import pytest
import timm
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope

from benchmarks.detector import batch
from mmconvnext.backbones.timm_features import image_statistics
from mmconvnext.config.image_statistics import match_image_statistics
from mmconvnext.config.machine import adapt
from mmconvnext.config.mini_recipe import scale_down
from mmconvnext.config.options import Options
from mmconvnext.config.prepare import load_config
from mmconvnext.config.pretrained import set_pretrained
from mmconvnext.config_tree import walk
from tests.conftest import ROOT
from zoo.rivals import PUBLISHED

PATHS = {path.stem: path for path in sorted((ROOT / 'configs/peers').glob('*.py'))}
PUBLISHED_RECIPES = [name for name in PATHS if '_published_' in name]
NOISY_STUDENT = [name for name in PATHS if '_noisy_student_' in name]
SAME_RECIPE = [name for name in PATHS if name not in PUBLISHED_RECIPES]
NETWORKS = [name for name in SAME_RECIPE if name not in NOISY_STUDENT]
CONVNEXT = {'mask_rcnn': 'detection/mask_rcnn_convnext_t_3x.py', 'upernet': 'segmentation/upernet_convnext_t_160k.py'}
OF_THE_BACKBONE = ('backbone', 'in_channels', 'mean', 'std')
# Small heads. The backbones are those of the configs, of each family the smallest; OpenMMLab's Swin is narrower
SMALL = dict(nms_pre=50, max_per_img=20, num=16, fc_out_channels=32, channels=24)
FAMILIES = ('resnet50', 'bit_resnet50', 'densenet121', 'swin_t', 'efficientnet_b0', 'swin_t_published')
NARROW = dict(embed_dims=24, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8])


def label(name):
    return PATHS[name].read_text().splitlines()[0].removeprefix('# ').partition(':')[0]


def without(node, names):
    """The node as plain dictionaries and lists, without what has one of these names."""
    if isinstance(node, dict):
        return {key: without(value, names) for key, value in node.items() if key not in names}
    return [without(value, names) for value in node] if isinstance(node, list | tuple) else node


def test_all_rivals_are_there():
    networks = ['resnet50', 'bit_resnet50', 'densenet121', 'swin_t', 'swin_s', 'swin_b']
    networks += [f'efficientnet_b{i}{weights}' for i in range(5) for weights in ('', '_noisy_student')]
    published = {'mask_rcnn_swin_t', 'mask_rcnn_swin_s', 'upernet_swin_t', 'upernet_swin_s', 'upernet_swin_b'}
    same = {f'mask_rcnn_{name}_3x' for name in networks} | {f'upernet_{name}_160k' for name in networks}
    ends = {'mask': '_published_3x', 'uper': '_published_160k'}
    assert set(PATHS) == same | {name + ends[name[:4]] for name in published}
    assert set(PUBLISHED) == set(PUBLISHED_RECIPES)


def test_labels():
    assert {label(name) for name in SAME_RECIPE} == {"ConvNeXt's recipe"}
    assert {label(name) for name in PUBLISHED_RECIPES} == {'Published recipe'}


@pytest.mark.parametrize('name', SAME_RECIPE)
def test_the_same_recipe_differs_in_the_backbone_alone(name):
    heads = next(heads for heads in CONVNEXT if name.startswith(heads))
    convnext = Config.fromfile(ROOT / 'configs' / CONVNEXT[heads])
    cfg = Config.fromfile(PATHS[name])
    ours, theirs = (without(c.to_dict(), OF_THE_BACKBONE) for c in (convnext, cfg))
    if heads != 'mask_rcnn':  # tests on images of any size, padded
        assert theirs['model']['data_preprocessor'].pop('test_cfg') == dict(size_divisor=32)
    assert theirs == ours
    backbone = cfg.model.backbone
    assert backbone.type == 'TimmFeatures'
    # One choice for all: BatchNorm keeps its statistics, and every output has a norm
    assert (backbone.norm_eval, backbone.norm_cfg.type, backbone.get('output_norm', True)) == (True, 'BN', True)
    assert backbone.decay_layers == (12 if 'swin_s' in name or 'swin_b' in name else 6)


@pytest.mark.parametrize('name', NOISY_STUDENT)
def test_noisy_student_differs_in_the_weights_alone(name):
    student, supervised = (Config.fromfile(PATHS[n]).to_dict() for n in (name, name.replace('_noisy_student', '')))
    weights = 'model_name', 'checkpoint'
    assert without(student, weights) == without(supervised, weights)
    assert student['model']['backbone']['model_name'].endswith('.ns_jft_in1k')
    assert supervised['model']['backbone']['model_name'].endswith('.aa_in1k')


@pytest.mark.parametrize('name', SAME_RECIPE)
def test_weights_and_image_statistics_are_those_of_the_network(name):
    cfg = Config.fromfile(PATHS[name])
    backbone = cfg.model.backbone
    assert backbone.init_cfg.type == 'Pretrained'
    pretrained = timm.get_pretrained_cfg(backbone.model_name)
    assert backbone.init_cfg.checkpoint == f'hf-hub:{pretrained.hf_hub_id}'
    preprocessor = cfg.model.data_preprocessor
    assert (preprocessor.mean, preprocessor.std) == image_statistics(backbone.model_name)
    assert ('bit_' in name) == (preprocessor.mean == [127.5, 127.5, 127.5])
    assert preprocessor.get('pad_size_divisor') == 32 or preprocessor.test_cfg.size_divisor == 32


@pytest.mark.slow
@pytest.mark.parametrize('name', NETWORKS)
def test_channels_written_down_are_the_networks(name):
    model = Config.fromfile(PATHS[name]).model
    init_default_scope('mmdet' if 'neck' in model else 'mmseg')
    with torch.device('meta'):
        built = MODELS.build(model)
    widths = list(built.backbone.out_channels)
    assert built.backbone.out_strides == (4, 8, 16, 32)
    if 'neck' in model:
        assert model.neck.in_channels == widths
    else:
        assert (model.decode_head.in_channels, model.auxiliary_head.in_channels) == (widths, widths[2])


@pytest.mark.slow
@pytest.mark.parametrize('network', FAMILIES)
@pytest.mark.parametrize('heads', CONVNEXT)
def test_a_step(heads, network, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = load_config(PATHS[f'{heads}_{network}_{"3x" if heads == "mask_rcnn" else "160k"}'])
    init_default_scope(cfg.default_scope)
    cfg.launcher = 'none'
    adapt(cfg)
    # Without stochastic depth, which leaves the blocks that it drops without a gradient
    cfg.model.backbone.update(init_cfg=None, drop_path_rate=0.0)
    if network == 'resnet50':  # else the last BatchNorm of a new block is 0, and so are the gradients before it
        cfg.model.backbone.timm_args = dict(zero_init_last=False)
    if network == 'swin_t_published':
        cfg.model.backbone.update(NARROW)
        for node in walk(cfg.model):
            if isinstance(node.get('in_channels'), list):
                node.in_channels = [24, 48, 96, 192]
            elif node.get('in_channels') == 384:
                node.in_channels = 96
    for node in walk(cfg.model):
        node.update({key: value for key, value in SMALL.items() if key in node})
    model = MODELS.build(cfg.model).train()
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    inputs, samples = batch(cfg, 2, 96, 160, 'cpu')
    loss, values = model.parse_losses(model.loss(inputs, samples))
    assert all(value.isfinite() for value in values.values())
    loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    before = {name: p.detach().clone() for name, p in model.backbone.named_parameters()}
    optimizer.step()
    with_gradient = {name: p for name, p in model.backbone.named_parameters() if p.grad.any()}
    assert len(with_gradient) > 0.9 * len(before)
    assert [name for name, p in with_gradient.items() if torch.equal(p, before[name])] == []
    assert all(p.isfinite().all() for p in model.parameters())


def test_published_recipes_are_swins():
    for name in PUBLISHED_RECIPES:
        cfg = Config.fromfile(PATHS[name])
        wrapper, detector = cfg.optim_wrapper, 'mask_rcnn' in name
        assert (wrapper.optimizer.lr, wrapper.optimizer.weight_decay) == ((1e-4, 0.05) if detector else (6e-5, 0.01))
        assert 'constructor' not in wrapper
        assert {key: value.decay_mult for key, value in wrapper.paramwise_cfg.custom_keys.items()} == dict(
            absolute_pos_embed=0.0, relative_position_bias_table=0.0, norm=0.0
        )
        assert cfg.model.backbone.type == 'SwinTransformer'
        assert cfg.model.backbone.drop_path_rate == (0.2 if detector else 0.3)
        assert cfg.model.backbone.depths == [2, 2, 6 if '_swin_t_' in name else 18, 2]
        assert detector or cfg.model.test_cfg == dict(mode='whole')


@pytest.mark.parametrize('name', ['mask_rcnn_resnet50_3x', 'upernet_densenet121_160k'])
def test_neck_heads_and_statistics_follow_another_network(name):
    cfg = load_config(
        PATHS[name], {'model.backbone.model_name': 'resnetv2_50x1_bit', 'model.backbone.drop_path_rate': 0}
    )
    preprocessor = cfg.model.data_preprocessor
    assert preprocessor.mean == preprocessor.std == [127.5, 127.5, 127.5]
    channels = cfg.model.neck.in_channels if 'neck' in cfg.model else cfg.model.decode_head.in_channels
    assert channels == [256, 512, 1024, 2048]
    mine = {'model.backbone.model_name': 'resnetv2_50x1_bit', 'model.data_preprocessor.mean': [1.0, 2.0, 3.0]}
    preprocessor = load_config(PATHS[name], {**mine, 'model.backbone.drop_path_rate': 0}).model.data_preprocessor
    assert (preprocessor.mean, preprocessor.std) == ([1.0, 2.0, 3.0], [127.5] * 3)


def test_statistics_reach_a_preprocessor_around_another():
    cfg = load_config(PATHS['mask_rcnn_resnet50_3x'])
    detector = cfg.model.copy()
    detector.backbone.model_name = 'resnetv2_50x1_bit'
    inner = detector.pop('data_preprocessor')
    model = ConfigDict(detector=detector, data_preprocessor=dict(type='MultiBranch', data_preprocessor=inner))
    match_image_statistics(model, Options(None, cfg))
    assert model.data_preprocessor.data_preprocessor.mean == [127.5] * 3
    assert 'data_preprocessor' not in model.detector


@pytest.mark.parametrize('name', ['mask_rcnn_resnet50_3x', 'upernet_swin_t_published_160k'])
def test_mini_starts_from_random_weights_and_trains_batch_norms(name, tmp_path, monkeypatch):
    cfg = load_config(PATHS[name])
    monkeypatch.setattr('mmconvnext.config.mini_recipe.TRAIN_IMAGES', 8)
    monkeypatch.setattr('mmconvnext.config.mini_recipe.VAL_IMAGES', 4)
    scale_down(cfg, tmp_path / 'mini', Options(None, cfg))
    assert cfg.model.backbone.init_cfg is None
    assert cfg.model.backbone.drop_path_rate == 0
    assert cfg.model.backbone.get('norm_eval', False) is False


def test_pretrained_of_openmmlabs_swin_is_read_by_openmmlab(tmp_path):
    cfg = load_config(PATHS['mask_rcnn_swin_t_published_3x'])
    set_pretrained(cfg, 'x.pth')
    assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='x.pth')
