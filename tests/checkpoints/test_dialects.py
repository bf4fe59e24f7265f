"""The table of dialects, against names and shapes that are written out here, and against itself in both directions."""

import pytest
import torch

from mmconvnext.checkpoints import CheckpointError, load_pretrained
from mmconvnext.checkpoints.dialects import DIALECTS, Dialect
from mmconvnext.checkpoints.recognise import recognise

# (dialect, their name, their shape, our name, our shape) of a network 4, 8, 12, 16 wide
EXAMPLES = [
    ('official', 'downsample_layers.1.1.weight', (8, 4, 2, 2), 'downsample_layers.1.1.weight', (8, 4, 2, 2)),
    ('official', 'stages.2.3.grn.gamma', (1, 1, 1, 48), 'stages.2.3.grn.gamma', (48,)),
    ('official', 'head.weight', (5, 16), 'head.weight', (5, 16)),
    ('dinov3', 'norms.3.weight', (16,), 'norm.weight', (16,)),
    ('fcmae', 'downsample_layers.1.0.ln.weight', (4,), 'downsample_layers.1.0.weight', (4,)),
    ('fcmae', 'downsample_layers.1.1.kernel', (4, 4, 8), 'downsample_layers.1.1.weight', (8, 4, 2, 2)),
    ('fcmae', 'downsample_layers.1.1.bias', (1, 8), 'downsample_layers.1.1.bias', (8,)),
    ('fcmae', 'stages.1.0.dwconv.kernel', (49, 8), 'stages.1.0.dwconv.weight', (8, 1, 7, 7)),
    ('fcmae', 'stages.1.0.dwconv.kernel', (49, 1, 8), 'stages.1.0.dwconv.weight', (8, 1, 7, 7)),
    ('fcmae', 'stages.1.0.pwconv1.linear.weight', (32, 8), 'stages.1.0.pwconv1.weight', (32, 8)),
    ('fcmae', 'stages.1.0.grn.beta', (1, 32), 'stages.1.0.grn.beta', (32,)),
    ('timm', 'stem.0.weight', (4, 3, 4, 4), 'downsample_layers.0.0.weight', (4, 3, 4, 4)),
    ('timm', 'stages.1.downsample.0.bias', (4,), 'downsample_layers.1.0.bias', (4,)),
    ('timm', 'stages.2.blocks.3.conv_dw.weight', (12, 1, 7, 7), 'stages.2.3.dwconv.weight', (12, 1, 7, 7)),
    ('timm', 'stages.2.blocks.3.mlp.grn.weight', (48,), 'stages.2.3.grn.gamma', (48,)),
    ('timm', 'head.norm.weight', (16,), 'norm.weight', (16,)),
    ('timm', 'norm_pre.weight', (16,), 'norm.weight', (16,)),
    ('timm_conv_mlp', 'stages.1.blocks.1.mlp.fc1.weight', (32, 8, 1, 1), 'stages.1.1.pwconv1.weight', (32, 8)),
    ('timm_conv_mlp', 'stages.1.blocks.1.mlp.fc1.bias', (32,), 'stages.1.1.pwconv1.bias', (32,)),
    ('timm_features', 'stages_1.downsample.1.weight', (8, 4, 2, 2), 'downsample_layers.1.1.weight', (8, 4, 2, 2)),
    ('torchvision', '2.1.weight', (8, 4, 2, 2), 'downsample_layers.1.1.weight', (8, 4, 2, 2)),
    ('torchvision', '5.3.block.2.weight', (12,), 'stages.2.3.norm.weight', (12,)),
    ('torchvision', '5.3.block.5.weight', (12, 48), 'stages.2.3.pwconv2.weight', (12, 48)),
    ('torchvision', '5.3.layer_scale', (12, 1, 1), 'stages.2.3.gamma', (12,)),
    ('torchvision', '7.0.block.0.bias', (16,), 'stages.3.0.dwconv.bias', (16,)),
    ('hf', 'embeddings.patch_embeddings.weight', (4, 3, 4, 4), 'downsample_layers.0.0.weight', (4, 3, 4, 4)),
    ('hf', 'encoder.stages.1.downsampling_layer.1.bias', (8,), 'downsample_layers.1.1.bias', (8,)),
    ('hf', 'encoder.stages.2.layers.3.layer_scale_parameter', (12,), 'stages.2.3.gamma', (12,)),
    ('hf', 'encoder.stages.2.layers.3.grn.weight', (1, 1, 1, 48), 'stages.2.3.grn.gamma', (48,)),
    ('hf', 'hidden_states_norms.stage1.weight', (4,), 'norm0.weight', (4,)),
    ('hf_dinov3', 'stages.2.layers.3.pointwise_conv1.bias', (48,), 'stages.2.3.pwconv1.bias', (48,)),
    ('hf_dinov3', 'stages.0.downsample_layers.1.weight', (4,), 'downsample_layers.0.1.weight', (4,)),
    ('mmpretrain', 'stages.2.3.depthwise_conv.weight', (12, 1, 7, 7), 'stages.2.3.dwconv.weight', (12, 1, 7, 7)),
    ('mmpretrain', 'stages.2.3.pointwise_conv2.weight', (12, 48, 1, 1), 'stages.2.3.pwconv2.weight', (12, 48)),
    ('mmpretrain', 'norm3.weight', (16,), 'norm.weight', (16,)),
]
# Dialects in which V1 and V2 have a place for every tensor of a block
PAIRS = [
    (dialect, version)
    for dialect in DIALECTS
    for version, name in ((1, 'stages.0.0.gamma'), (2, 'stages.0.0.grn.gamma'))
    if dialect.to_theirs(name, torch.ones(1))
]
V1, V2 = (pytest.mark.parametrize('version', [v], indirect=True, ids=[f'V{v}']) for v in (1, 2))


def write(dialect: Dialect, network: dict) -> dict:
    """Their name and tensor of each of ours that has a place with them."""
    return {name: t for name, tensor in network.items() if (t := dialect.to_theirs(name, tensor))}


def label(value: object) -> str | None:
    return f'{value.label}-{value.backbone_prefix}' if isinstance(value, Dialect) else None


def test_which_dialects_have_which_version():
    only = {dialect.label: {v for d, v in PAIRS if d.label == dialect.label} for dialect in DIALECTS}
    assert {name: versions for name, versions in only.items() if versions != {1, 2}} == {
        'torchvision': {1},
        'Hugging Face DINOv3': {1},
        'official sparse FCMAE': {2},
    }


@pytest.mark.parametrize(('name', 'theirs', 'their_shape', 'ours', 'our_shape'), EXAMPLES)
def test_names_and_shapes(name, theirs, their_shape, ours, our_shape):
    tensor = torch.randn(their_shape)
    own, read = next(r for d in DIALECTS if d.name == name and (r := d.to_ours(theirs, tensor)))
    assert own == ours
    assert read.shape == our_shape
    assert torch.equal(read.flatten().sort()[0], tensor.flatten().sort()[0])


def test_sparse_kernels_count_x_slowest():
    fcmae = next(d for d in DIALECTS if d.name == 'fcmae')
    kernel = torch.arange(49.0)[:, None].repeat(1, 8)
    weight = fcmae.to_ours('stages.1.0.dwconv.kernel', kernel)[1]
    assert weight[0, 0, 0].tolist() == [0, 7, 14, 21, 28, 35, 42]  # along x
    full = torch.arange(4.0)[:, None, None] + 10 * torch.arange(3.0)[:, None] + 100 * torch.arange(5.0)
    weight = fcmae.to_ours('downsample_layers.1.1.kernel', full)[1]
    assert weight[4, 2].tolist() == [[420, 422], [421, 423]]


@pytest.mark.parametrize(('dialect', 'version'), PAIRS, indirect=['version'], ids=label)
def test_round_trip_is_bit_exact(dialect, network):
    written = write(dialect, network)
    assert all(name.startswith(('head.', 'norm.')) for name in network.keys() - written.keys())
    found = recognise(dict(written.values()), 'file')
    # Of those with the same names, the first counts
    assert found.dialect.name in (dialect.name, 'official', 'timm')
    assert found.state.keys() == written.keys()
    assert all(torch.equal(tensor, network[name]) for name, tensor in found.state.items())
    again = write(dialect, found.state)
    for name, (theirs, tensor) in written.items():
        assert again[name][0] == theirs
        assert torch.equal(again[name][1], tensor)
        assert again[name][1].shape == tensor.shape


@pytest.mark.parametrize(
    ('prefix', 'wrap'),
    [
        ('', lambda s: {'model': s, 'epoch': 3}),
        ('module.model.backbone.', lambda s: {'state_dict': {'model': s}}),
    ],
)
@pytest.mark.parametrize(('dialect', 'version'), PAIRS, indirect=['version'], ids=label)
def test_any_wrapper_and_prefix(dialect, wrap, prefix, network, backbone, save):
    state = {f'{prefix}{name}': tensor for name, tensor in write(dialect, network).values()}
    load_pretrained(backbone, save(wrap(state)))
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, backbone.before[name] if name.startswith('norm') else network[name]), name


@V2
def test_what_is_dropped_is_listed(backbone, network, save):
    decoder = {'mask_token': torch.zeros(1), 'proj.weight': torch.zeros(1), 'decoder.0.dwconv.weight': torch.zeros(1)}
    state = {n: t for n, t in network.items() if not n.startswith(('norm.', 'head.'))}
    report = load_pretrained(backbone, save({'model': state | decoder | {'pred.bias': torch.zeros(1)}}))
    assert 'mask_token, proj, decoder, pred left out' in report
    with pytest.raises(CheckpointError) as error:
        load_pretrained(backbone, save({'model': state | {'projector.weight': torch.zeros(1)}}))
    assert error.value.facts['unknown'] == ['projector.weight']


@V2
def test_sparse_fcmae_with_its_decoder(backbone, network, save):
    fcmae = next(d for d in DIALECTS if d.name == 'fcmae')
    state = dict(write(fcmae, network).values())
    assert 'encoder.stages.0.0.dwconv.kernel' in state
    report = load_pretrained(backbone, save({'model': state | {'decoder.0.dwconv.weight': torch.zeros(1)}}))
    assert 'decoder left out' in report
    assert 'source official sparse FCMAE V2' in report


@V1
def test_dinov3_has_its_final_norm_twice(backbone, network, save):
    state = {n: t for n, t in network.items() if not n.startswith('head')}
    state |= {f'norms.3.{p}': state[f'norm.{p}'].clone() for p in ('weight', 'bias')}
    report = load_pretrained(backbone, save(state))
    assert 'source DINOv3 V1' in report
    assert 'licence DINOv3 License' in report


@V1
def test_the_rest_of_openclip_is_left_out(backbone, network, save):
    openclip = next(d for d in DIALECTS if d.name == 'openclip')
    state = dict(write(openclip, network).values())
    state |= {'visual.head.proj.weight': torch.zeros(1), 'text.transformer.weight': torch.zeros(1)}
    report = load_pretrained(backbone, save(state))
    assert 'visual, text left out' in report
    assert 'source OpenCLIP V1' in report
