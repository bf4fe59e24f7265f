"""The backbone of a model's config is found by what it is, not by one name."""

import pytest
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import nn

from mmconvnext.backbones import ConvNeXt, DenseBackbone
from mmconvnext.config.backbone import backbone_path, find_backbone
from mmconvnext.config.neck_and_heads import match_backbone
from mmconvnext.config.pretrained import check_weights
from mmconvnext.errors import UserError


class Other(DenseBackbone):
    """Outputs of the widths that it is given."""

    def __init__(self, widths, init_cfg=None):
        super().__init__(init_cfg)
        self.out_indices, self.out_channels, self.out_strides = (1, 3), tuple(widths), (8, 32)
        self.conv = nn.Conv2d(3, 8, 1)

    def num_layers(self, decay_type):
        return 1

    def layer_of(self, name, decay_type):
        return 0


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(MODELS.module_dict, 'Other', Other)
    return 'Other'


@pytest.mark.parametrize('scope', ['', 'mmconvnext.'])
def test_by_a_registered_name(registered, scope):
    model = ConfigDict(model=dict(neck=dict(type='FPN'), backbone=dict(type=f'{scope}{registered}', widths=(3, 5))))
    assert backbone_path(model) == ('model', 'backbone')


def test_by_a_class_derived_from_ours():
    class Derived(ConvNeXt):
        pass

    assert find_backbone(ConfigDict(backbone=dict(type=Derived))).type is Derived


@pytest.mark.parametrize('kind', ['ResNet', 'mmpretrain.ConvNeXt', 'mmdet.Other', nn.Linear, None])
def test_others_are_refused(registered, kind):
    with pytest.raises(UserError):
        find_backbone(ConfigDict(backbone=dict(type=kind)))


def test_neck_follows_another_backbone(registered):
    neck = dict(type='FPN', in_channels=[1, 2], out_channels=4, num_outs=3)
    anchors = dict(type='AnchorGenerator', strides=[0])
    model = ConfigDict(backbone=dict(type=registered, widths=(3, 5)), neck=neck, rpn_head=dict(anchors=anchors))
    match_backbone(model)
    assert model.neck.in_channels == [3, 5]
    assert model.rpn_head.anchors.strides == [8, 32, 64]


@pytest.mark.parametrize('checkpoint', ['convnext_base.in1k', 'convnext_tiny.in1k'])
def test_published_weights_are_checked_against_a_convnext_only(checkpoint):
    """The last step of the road from ResNet-200 is ConvNeXt-B, but its config has no arch."""
    init_cfg = dict(type='ConvNeXtPretrained', checkpoint=checkpoint)
    check_weights(ConfigDict(backbone=dict(type='ConvNeXtRoad', regime='resnet200', init_cfg=init_cfg)))
    with pytest.raises(UserError):
        check_weights(ConfigDict(backbone=dict(type='ConvNeXt', arch='small', init_cfg=init_cfg)))
