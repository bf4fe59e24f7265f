import copy
from argparse import Namespace

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModule, PretrainedInit
from mmengine.registry import MODELS
from torch.nn import functional as F

from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import CheckpointError, ConvNeXtPretrained, load_pretrained
from mmconvnext.checkpoints.errors import UnsafeFileError
from mmconvnext.checkpoints.network import read_network

V1 = pytest.mark.parametrize('version', [1], indirect=True, ids=['V1'])


def official(network):
    """As the authors' file has it: GRN as (1, 1, 1, 4C)."""
    return {'model': {n: t[None, None, None] if '.grn.' in n else t for n, t in network.items()}}


def test_official_file_fills_all_but_the_output_norms(backbone, network, save):
    report = load_pretrained(backbone, save(official(network)))
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, backbone.before[name] if name.startswith('norm') else network[name]), name
    count = len(network) - 4
    assert f'file.pth: {count} of {count} tensors, norm0-3 fresh, norm, head left out, source official V' in report
    assert 'unknown licence' in report


def test_report_has_size_and_licence(save, caplog):
    MMLogger.get_current_instance().addHandler(caplog.handler)
    tiny = {n: t for n, t in ConvNeXt('tiny').state_dict().items() if not n.startswith('norm')}
    path = save({'model': tiny}, 'convnext_tiny_1k_224.pth')
    report = load_pretrained(ConvNeXt('tiny'), path)
    assert report == f'{path}: 178 of 178 tensors, norm0-3 fresh, source official V1 tiny, licence MIT'
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    assert caplog.messages == [report]


def test_detector_file_fills_the_norms_too(backbone, save):
    state = {f'backbone.{n}': torch.randn_like(t) for n, t in backbone.state_dict().items()}
    report = load_pretrained(backbone, save({'state_dict': state | {'neck.x': torch.ones(1)}}))
    assert all(torch.equal(tensor, state[f'backbone.{name}']) for name, tensor in backbone.state_dict().items())
    assert 'fresh' not in report
    assert 'neck left out' in report


def test_stages_and_norms_that_are_not_built_are_left_out(toy, version, network, save):
    norms = {f'norm{i}.{p}': torch.randn(w) for i, w in enumerate(toy['widths']) for p in ('weight', 'bias')}
    model = ConvNeXt(toy, version=version, out_indices=(1,))
    report = load_pretrained(model, save(official(network | norms)))
    assert torch.equal(model.norm1.weight, norms['norm1.weight'])
    assert 'downsample_layers, stages, norm, head, norm0, norm2, norm3 left out' in report


def test_final_norm(backbone, network, save):
    report = load_pretrained(backbone, save(official(network)), final_norm=True)
    assert torch.equal(backbone.norm3.weight, network['norm.weight'])
    assert torch.equal(backbone.norm3.bias, network['norm.bias'])
    assert torch.equal(backbone.norm2.bias, backbone.before['norm2.bias'])
    assert 'norm0-2 fresh' in report
    assert 'norm3 from the final norm' in report


@V1
@pytest.mark.parametrize(('policy', 'channels'), [*(('repeat', n) for n in (1, 2, 4, 6, 10)), ('zero', 4), ('zero', 6)])
def test_stem_gives_grey_images_the_same_response(toy, version, network, save, channels, policy):
    model = ConvNeXt(toy, version=version, in_channels=channels)
    report = load_pretrained(model, save(official(network)), adapt_stem=policy)
    assert f"stem from 3 to {channels} channels by '{policy}'" in report
    old, new = network['downsample_layers.0.0.weight'], model.downsample_layers[0][0].weight
    grey = torch.randn(2, 1, 8, 8)
    before, after = (F.conv2d(grey.repeat(1, w.shape[1], 1, 1), w, stride=4) for w in (old, new))
    if policy == 'zero':
        assert torch.equal(new[:, :3], old)
        assert not new[:, 3:].any()
    else:
        torch.testing.assert_close(after, before)


@V1
@pytest.mark.parametrize('channels', [1, 4, 9])
def test_stem_of_a_half_precision_file_is_adapted_in_float32(toy, version, network, save, channels):
    stem = 'downsample_layers.0.0.weight'
    network[stem] = network[stem].bfloat16()
    model = ConvNeXt(toy, version=version, in_channels=channels)
    load_pretrained(model, save(network))
    torch.testing.assert_close(model.state_dict()[stem].sum(1), network[stem].float().sum(1))


@V1
def test_key_chooses_among_several_entries(backbone, network, save):
    ema = {n: t + 1 for n, t in network.items()}
    path = save({'model': network, 'model_ema': ema, 'students': {'best': ema}})
    for key, expected in ((None, network), ('model_ema', ema), ('students.best', ema)):
        load_pretrained(backbone, path, key=key)
        name = 'stages.0.0.dwconv.weight'
        assert torch.equal(backbone.state_dict()[name], expected[name])


@V1
def test_prefix_chooses_among_several_networks(backbone, network, save):
    teacher = {f'teacher.backbone.{n}': t + 1 for n, t in network.items()}
    path = save({f'student.backbone.{n}': t for n, t in network.items()} | teacher)
    load_pretrained(backbone, path, prefix='teacher.backbone')
    assert torch.equal(backbone.stages[0][0].norm.bias, network['stages.0.0.norm.bias'] + 1)


@V1
def test_training_programs_keep_their_arguments_beside_the_weights(backbone, network, save):
    load_pretrained(backbone, save({'model': network, 'args': Namespace(lr=4e-3), 'epoch': 299}))


@V1
def test_a_model_pickled_whole_needs_to_be_trusted(backbone, network, save):
    donor = copy.deepcopy(backbone)
    path = save({'model': donor})
    with pytest.raises(UnsafeFileError):
        load_pretrained(backbone, path)
    load_pretrained(backbone, path, allow_pickle=True)


def under(prefix, state):
    return {f'{prefix}{name}': tensor for name, tensor in state.items()}


# What other programs write around the weights, and beside them
FILES_OF_USERS = {
    'average of timm': lambda s: {'state_dict_ema': under('module.backbone.', s)},
    'average of PyTorch': lambda s: under('module.', s) | {'n_averaged': torch.tensor(9)},
    'average beside an empty entry': lambda s: {'state_dict': None, 'model_ema': {'state_dict': under('model.', s)}},
    'average of MMEngine': lambda s: {'ema_state_dict': under('module.module.', s) | {'steps': torch.tensor(9)}},
    'Lightning': lambda s: {
        'pytorch-lightning_version': '2.1.0',
        'hyper_parameters': {'lr': 1e-3},
        'optimizer_states': [{'state': {}, 'param_groups': []}],
        'state_dict': under('model.backbone.', s) | {'criterion.weight': torch.ones(5)},
    },
    'DeepSpeed': lambda s: {'module': under('backbone.', s), 'optimizer': None, 'ds_version': '0.14.0'},
    'torch.compile': lambda s: {'state_dict': under('backbone._orig_mod.', s)},
    'MMPretrain': lambda s: {
        'meta': {'epoch': 300},
        'message_hub': {},
        'state_dict': {
            f'backbone.{n}'.replace('dwconv', 'depthwise_conv').replace('pwconv', 'pointwise_conv'): t
            for n, t in s.items()
        }
        | {
            'data_preprocessor.mean': torch.zeros(3, 1, 1),
        },
    },
    'parameters': lambda s: {n: torch.nn.Parameter(t) for n, t in s.items()},
    'float64': lambda s: {n: t.double() for n, t in s.items()},
}


@V1
@pytest.mark.parametrize('write', FILES_OF_USERS.values(), ids=FILES_OF_USERS)
def test_files_of_users(toy, version, network, save, write):
    without_classifier = {n: t for n, t in network.items() if not n.startswith(('norm.', 'head.'))}
    path = save(write(without_classifier))
    model = ConvNeXt(toy, version=version, init_cfg=dict(type='ConvNeXtPretrained', checkpoint=path))
    model.init_weights()
    state = model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in without_classifier.items())


@V1
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_exactly(backbone, network, save, dtype):
    load_pretrained(backbone, save({n: t.to(dtype) for n, t in network.items()}))
    name = 'stages.2.3.pwconv2.weight'
    assert backbone.state_dict()[name].dtype == torch.float32
    assert torch.equal(backbone.state_dict()[name], network[name].to(dtype).float())


@V1
def test_ways_to_say_where_a_file_is(backbone, network, save, tmp_path, monkeypatch):
    save(network, 'my file.pth')
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / 'my file.pth'
    for checkpoint in (file, str(file), 'my file.pth', '~/my file.pth', f'file://{file}', file.as_uri()):
        backbone.load_state_dict(backbone.before)
        load_pretrained(backbone, checkpoint)
        assert torch.equal(backbone.stages[0][0].norm.bias, network['stages.0.0.norm.bias'])


@V1
@pytest.mark.parametrize('kind', ['ConvNeXtPretrained', 'Pretrained'])
@pytest.mark.parametrize('as_list', [False, True])
def test_init_cfg_loads_and_a_second_init_does_no_harm(toy, version, network, save, kind, as_list):
    init_cfg = dict(type=kind, checkpoint=save(official(network)), map_location='cpu')
    model = MODELS.build(dict(type='ConvNeXt', arch=toy, version=version, init_cfg=[init_cfg] if as_list else init_cfg))
    for _ in range(2):
        model.init_weights()
        assert torch.equal(model.stages[2][1].dwconv.weight, network['stages.2.1.dwconv.weight'])


@V1
@pytest.mark.parametrize('kind', ['Pretrained', PretrainedInit, 'ConvNeXtPretrained', ConvNeXtPretrained])
@pytest.mark.parametrize('first', [True, False])
def test_weights_that_init_cfg_names_are_not_overwritten_by_its_other_initializers(
    toy, version, network, save, kind, first
):
    """Only 'Pretrained' ran last whatever its place, and this package's loader has another name."""
    loader = dict(type=kind, checkpoint=save(official(network)))
    others = [
        dict(type='Constant', layer=['Conv2d', 'Linear', 'LayerNorm', 'LayerNorm2d'], val=7.0, bias=7.0),
        dict(type='TruncNormal', layer='Linear', std=1.0),
    ]
    init_cfg = [loader, *others] if first else [*others, loader]
    model = MODELS.build(dict(type='ConvNeXt', arch=toy, version=version, init_cfg=init_cfg))
    model.init_weights()
    for name, tensor in model.state_dict().items():
        if name.startswith('norm'):  # of the outputs, which no pre-training has
            assert (tensor == 7).all(), name
        else:
            assert torch.equal(tensor, network[name]), name


@V1
def test_a_detectors_own_initializer_leaves_the_backbones_weights(toy, version, network, save):
    class Detector(BaseModule):
        def __init__(self):
            super().__init__(init_cfg=dict(type='Constant', layer=['Conv2d', 'Linear'], val=7.0))
            loader = dict(type='Pretrained', checkpoint=save(official(network)))
            self.backbone = ConvNeXt(toy, version=version, init_cfg=[loader, dict(type='Normal', layer='Linear')])
            self.neck = torch.nn.Linear(2, 2)

    model = Detector()
    model.init_weights()
    assert (model.neck.weight == 7).all()
    assert all(torch.equal(t, network[n]) for n, t in model.backbone.state_dict().items() if n in network)


@V1
def test_init_cfg_passes_its_options_and_its_errors(toy, version, network, save):
    state = {f'student.{n}': t for n, t in network.items()} | {f'teacher.{n}': t for n, t in network.items()}
    options = dict(checkpoint=save(state), prefix='teacher.', final_norm=True)
    model = ConvNeXt(toy, version=version, init_cfg=dict(type='ConvNeXtPretrained', **options))
    model.init_weights()
    assert torch.equal(model.norm3.weight, network['norm.weight'])
    with pytest.raises(CheckpointError) as error:
        ConvNeXt(
            toy, version=version, init_cfg=dict(type='Pretrained', checkpoint=options['checkpoint'])
        ).init_weights()
    assert error.value.facts['prefixes'] == ['student.', 'teacher.']


def test_network_is_read_from_any_backbone(toy, version):
    network = read_network(ConvNeXt(toy, version=version, in_channels=5, out_indices=(1, 2)).state_dict())
    assert network.arch.depths == toy['depths'][:3]
    assert network.arch.widths == toy['widths'][:3]
    assert (network.version, network.layer_scale, network.in_channels) == (version, version == 1, 5)


@pytest.mark.parametrize('arch', ['atto', 'tiny', 'base'])
def test_network_is_called_by_its_size(arch, version):
    with torch.device('meta'):
        network = read_network(ConvNeXt(arch, version=version).state_dict())
    assert str(network) == f'V{version} {arch}'
