"""The same weights give the same stage outputs here and in the code base that they come from."""

import pytest
import timm
import torch
from timm.models.convnext import ConvNeXt as TimmConvNeXt
from torch import nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.convnext import ConvNeXt as TorchvisionConvNeXt

from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import convert, load_pretrained
from tests.conftest import TOY
from tests.peers import installed, mmpretrain_convnext, torchvision_stages

DEPTHS, WIDTHS = list(TOY['depths']), list(TOY['widths'])
X = (2, 3, 64, 96)


def randomize(model):
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
        if parameter.ndim == 1:
            parameter.data += 0.5
    model.eval()
    return model


def assert_equal_outputs(theirs, state, version, save, *, with_norms=False, arch=TOY):
    """Compares stage outputs, after the output norms if the state has them."""
    ours = ConvNeXt(arch, version=version).eval()
    load_pretrained(ours, save(state))
    for i in range(4):
        if not with_norms:
            setattr(ours, f'norm{i}', nn.Identity())
    x = torch.randn(X)
    with torch.no_grad():
        for a, b in zip(theirs(x), ours(x), strict=True):
            assert a.shape == b.shape
            assert (a - b).abs().max() <= 1e-4


@pytest.mark.parametrize('conv_mlp', [False, True])
def test_timm(version, conv_mlp, save):
    v2 = dict(use_grn=True, ls_init_value=None) if version == 2 else {}
    build = dict(depths=DEPTHS, dims=WIDTHS, num_classes=5, conv_mlp=conv_mlp, **v2)
    peer = randomize(TimmConvNeXt(**build))
    assert_equal_outputs(
        lambda x: peer.forward_intermediates(x, intermediates_only=True), peer.state_dict(), version, save
    )
    target = 'timm_conv_mlp' if conv_mlp else 'timm'
    official = convert(peer.state_dict(), 'official').state
    TimmConvNeXt(**build).load_state_dict(convert(official, target).state)


def test_timm_reads_our_official_files(version, network):
    v2 = dict(use_grn=True, ls_init_value=None) if version == 2 else {}
    peer = TimmConvNeXt(depths=DEPTHS, dims=WIDTHS, num_classes=5, **v2)
    official = convert(network, 'official').state
    theirs = timm.models.convnext.checkpoint_filter_fn(official, peer)
    peer.load_state_dict(theirs)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in convert(network, 'timm').state.items())


def test_timm_features_only(save):
    # Of its own it has another activation and eps, and is refused by its size
    options = dict(features_only=True, act_layer='gelu', norm_eps=1e-6, dims=(24, 32, 48, 72))
    peer = randomize(timm.create_model('test_convnext', **options))
    arch = dict(depths=(1, 2, 4, 2), widths=(24, 32, 48, 72))
    assert_equal_outputs(peer, peer.state_dict(), 1, save, arch=arch)


def test_torchvision(save):
    blocks = [CNBlockConfig(*sizes) for sizes in zip(WIDTHS, [*WIDTHS[1:], None], DEPTHS)]
    peer = randomize(TorchvisionConvNeXt(blocks, num_classes=5))
    assert_equal_outputs(lambda x: torchvision_stages(peer, x), peer.state_dict(), 1, save)
    official = convert(peer.state_dict(), 'official').state
    TorchvisionConvNeXt(blocks, num_classes=5).load_state_dict(convert(official, 'torchvision').state)


@pytest.mark.peers
class TestHuggingFace:
    @pytest.fixture
    def build(self, version):
        transformers = installed('transformers')
        name = 'ConvNext' if version == 1 else 'ConvNextV2'

        def build(kind, **options):
            config = getattr(transformers, f'{name}Config')(hidden_sizes=WIDTHS, depths=DEPTHS, num_labels=5, **options)
            return randomize(getattr(transformers, f'{name}{kind}')(config))

        return build

    def test_classifier(self, build, version, save):
        peer = build('ForImageClassification')
        assert_equal_outputs(
            lambda x: peer(x, output_hidden_states=True).hidden_states[1:], peer.state_dict(), version, save
        )
        official = convert(peer.state_dict(), 'official').state
        build('ForImageClassification').load_state_dict(convert(official, 'hf').state)

    def test_backbone_with_its_norms(self, build, version, save):
        peer = build('Backbone', out_features=[f'stage{i}' for i in range(1, 5)])
        assert_equal_outputs(lambda x: peer(x).feature_maps, peer.state_dict(), version, save, with_norms=True)

    def test_dinov3(self, save):
        transformers = installed('transformers')
        config = transformers.DINOv3ConvNextConfig(hidden_sizes=WIDTHS, depths=DEPTHS)
        peer = randomize(transformers.DINOv3ConvNextModel(config))
        state = peer.state_dict()
        for names in (state, {n.replace('model.stages', 'stages'): t for n, t in state.items()}):
            assert_equal_outputs(lambda x: peer(x, output_hidden_states=True).hidden_states[-4:], names, 1, save)


@pytest.mark.peers
class TestMMPretrain:
    @pytest.fixture(params=[True, False], ids=['linear', '1x1 convolution'])
    def build(self, request, version, monkeypatch):
        peer = mmpretrain_convnext(monkeypatch)
        v2 = dict(use_grn=True, layer_scale_init_value=0.0) if version == 2 else {}
        arch = dict(depths=DEPTHS, channels=WIDTHS)
        return lambda **options: randomize(peer(arch=arch, linear_pw_conv=request.param, **v2, **options))

    def test_detector(self, build, version, save):
        peer = build(out_indices=[0, 1, 2, 3], gap_before_final_norm=False)
        state = {f'backbone.{name}': tensor for name, tensor in peer.state_dict().items()}
        state |= {'neck.weight': torch.ones(1)}
        assert_equal_outputs(peer, {'state_dict': state}, version, save, with_norms=True)

    def test_classifier(self, build, version, save):
        peer = build()

        def stages(x):
            for downsample, stage in zip(peer.downsample_layers, peer.stages):
                x = stage(downsample(x))
                yield x

        state = {f'backbone.{name}': tensor for name, tensor in peer.state_dict().items()}
        state |= {'head.fc.weight': torch.randn(5, WIDTHS[-1]), 'head.fc.bias': torch.randn(5)}
        assert_equal_outputs(lambda x: list(stages(x)), {'state_dict': state}, version, save)
        assert convert(convert(state, 'official').state, 'mmpretrain').state.keys() == state.keys()
