"""DINO is the paper's network with both lines of MMDetection: parameters, outputs, gradients."""

import copy
import functools
import math

import pytest
import torch
from mmdet.models.layers import DinoTransformerDecoder
from mmdet.models.layers.transformer import dino_layers
from mmdet.models.layers.transformer.utils import MLP, coordinate_to_encoding
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmconvnext.detectors.dino import PaperDINODecoder
from tests.conftest import ROOT

CONFIG = ROOT / 'configs/detection/dino_convnext_t_1x.py'
# detrex's release of this network has 48,494,124 parameters; its neck has three and one convolutions with a bias of 256
DETREX, NECK_BIASES = 48_494_124, 4 * 256
LEVELS = ((8, 12), (4, 6))  # height, width
QUERIES, BATCH = 5, 2


@pytest.fixture(scope='module')
def model_cfg():
    cfg = Config.fromfile(CONFIG)
    init_default_scope(cfg.default_scope)
    return cfg.model


def shapes(cfg):
    init_default_scope('mmdet')
    with torch.device('meta'):
        model = MODELS.build(copy.deepcopy(cfg))
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def test_parameters_are_as_many_as_in_the_published_files(model_cfg):
    assert sum(map(math.prod, shapes(model_cfg).values())) == DETREX - NECK_BIASES


def test_names_and_shapes_are_those_of_mmdet_3_3(model_cfg):
    stock = shapes({**model_cfg, 'type': 'DINO'})
    # Installed may be mmdet 3.3.0, of which nothing is replaced here, or onedl-mmdetection 3.5.1 with (256, 1024)
    ours = {'decoder.ref_point_head.layers.0.weight': (256, 512), 'decoder.ref_point_head.layers.1.weight': (256, 256)}
    assert shapes(model_cfg) == stock | ours


def decoder_cfg(embed_dims):
    return dict(
        num_layers=2,
        return_intermediate=True,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=embed_dims, num_heads=2, dropout=0.0),
            cross_attn_cfg=dict(embed_dims=embed_dims, num_heads=2, num_levels=len(LEVELS), dropout=0.0),
            ffn_cfg=dict(embed_dims=embed_dims, feedforward_channels=16, ffn_drop=0.0),
        ),
        post_norm_cfg=None,
    )


def inputs(embed_dims):
    """What DINO gives its decoder, of random numbers: images of two sizes, and boxes up to the image's border."""
    pixels = sum(height * width for height, width in LEVELS)
    boxes = torch.rand(BATCH, QUERIES, 4)
    boxes[0, 0] = torch.tensor([0.0, 1.0, 1.0, 0.0])
    return dict(
        query=torch.randn(BATCH, QUERIES, embed_dims),
        value=torch.randn(BATCH, pixels, embed_dims),
        key_padding_mask=torch.arange(pixels).expand(BATCH, -1) > torch.tensor([[pixels], [pixels - 9]]),
        self_attn_mask=torch.eye(QUERIES, dtype=torch.bool).roll(1, 0),
        reference_points=boxes,
        spatial_shapes=torch.tensor(LEVELS),
        level_start_index=torch.tensor([0, math.prod(LEVELS[0])]),
        valid_ratios=torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[0.75, 0.5], [0.8, 0.6]]]),
        # The last one is the encoder's, as in DINOHead
        reg_branches=nn.ModuleList(nn.Linear(embed_dims, 4) for _ in range(3)),
    )


def with_random_weights(decoder):
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.1)
    return decoder


@pytest.fixture
def mmdet_3_3(monkeypatch):
    """The decoder of mmdet 3.3.0: the installed one, or made of that of onedl-mmdetection, which encodes otherwise."""
    decoder = DinoTransformerDecoder(**decoder_cfg(256))
    if decoder.ref_point_head.layers[0].in_features != 512:
        decoder.ref_point_head = MLP(512, 256, 256, 2)
        with_128 = functools.partial(coordinate_to_encoding, num_feats=128)
        monkeypatch.setattr(dino_layers, 'coordinate_to_encoding', lambda boxes, num_feats: with_128(boxes))
    return decoder


@pytest.mark.parametrize('intermediate', [True, False])
def test_outputs_and_gradients_are_those_of_mmdet_3_3(mmdet_3_3, intermediate):
    ours = with_random_weights(PaperDINODecoder(**decoder_cfg(256)))
    mmdet_3_3.load_state_dict(ours.state_dict())
    given = inputs(256)
    results = []
    for decoder in (ours, mmdet_3_3):
        decoder.return_intermediate = intermediate
        given['reg_branches'].zero_grad()
        queries, boxes = decoder(**given)
        (queries.square().sum() + boxes.square().sum()).backward()
        gradients = [*decoder.parameters(), *given['reg_branches'].parameters()]
        results.append([queries, boxes, *(p.grad if p.grad is None else p.grad.clone() for p in gradients)])
    assert results[0][0].shape == ((2, BATCH, QUERIES, 256) if intermediate else (BATCH, QUERIES, 256))
    assert results[0][1].shape == ((3, BATCH, QUERIES, 4) if intermediate else (BATCH, QUERIES, 4))
    for got, expected in zip(*results):
        assert got is expected is None or torch.equal(got, expected)


@pytest.mark.parametrize('embed_dims', [256, 16])
def test_each_coordinate_is_encoded_with_half_the_width(embed_dims):
    decoder, given = PaperDINODecoder(**decoder_cfg(embed_dims)), inputs(embed_dims)
    encodings = []
    decoder.ref_point_head.register_forward_pre_hook(lambda _, args: encodings.append(args[0]))
    decoder(**given)
    features = embed_dims // 2
    for image, query in ((0, 0), (0, 3), (1, 2)):
        x, y, w, h = given['reference_points'][image, query].double().tolist()
        right, low = given['valid_ratios'][image, 0].double().tolist()
        expected = [
            wave(2 * math.pi * coordinate / 10000 ** (2 * k / features))
            for coordinate in (y * low, x * right, w * right, h * low)
            for k in range(features // 2)
            for wave in (math.sin, math.cos)
        ]
        torch.testing.assert_close(encodings[0][image, query], torch.tensor(expected), atol=1e-5, rtol=0)
