"""What other programs leave around weights: wrappers in names, counters, arrays, shards, several sets of weights."""

import json
import re

import pytest
import torch
from safetensors.torch import save_file

from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import CheckpointError, convert, load_detector, load_pretrained
from mmconvnext.checkpoints.find_tensors import tensors_in

V1 = pytest.mark.parametrize('version', [1], indirect=True, ids=['V1'])


def check(backbone, network):
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, backbone.before[name] if name.startswith('norm') else network[name]), name


def inside(network, wrapper):
    """Each block under a wrapper, as wrapping the blocks one by one leaves it."""
    return {re.sub(r'^(stages\.\d+\.\d+\.)', rf'\1{wrapper}.', name): tensor for name, tensor in network.items()}


@V1
@pytest.mark.parametrize('wrapper', ['_orig_mod', '_checkpoint_wrapped_module', '_fsdp_wrapped_module'])
@pytest.mark.parametrize('outer', ['', 'module.', '_orig_mod.module.', '_fsdp_wrapped_module.'])
def test_wrappers_of_modules_are_taken_off(backbone, network, save, wrapper, outer):
    state = {f'{outer}{name}': tensor for name, tensor in inside(network, wrapper).items()}
    load_pretrained(backbone, save({'state_dict': state}))
    check(backbone, network)


@V1
def test_a_name_with_and_without_its_wrapper_is_refused(backbone, network, save):
    with pytest.raises(CheckpointError) as error:
        load_pretrained(backbone, save(network | inside(network, '_orig_mod')))
    assert error.value.facts['tensor'] in network


@V1
def test_counters_of_thop_are_left_out_and_said(backbone, network, save):
    counters = {f'{name.rpartition(".")[0]}.total_ops': torch.zeros(1) for name in network}
    counters |= {'total_ops': torch.zeros(1), 'total_params': torch.zeros(1)}
    assert f'{len(counters)} counters' in load_pretrained(backbone, save(network | counters))
    check(backbone, network)


@V1
def test_numpy_arrays_are_read_as_tensors(backbone, network, save):
    assert 'NumPy' in load_pretrained(backbone, save({name: t.numpy() for name, t in network.items()}))
    check(backbone, network)


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.backbone.'])
@V1
def test_torchvision_features_as_a_detectors_backbone(backbone, network, save, prefix):
    names = convert(network, 'torchvision').state.items()
    state = {prefix + name.removeprefix('features.'): t for name, t in names if name.startswith('features.')}
    neck = {'fpn.inner_blocks.0.0.weight': torch.ones(1)} if prefix else {}
    assert 'torchvision' in load_pretrained(backbone, save(state | neck))
    check(backbone, network)


@V1
class TestShards:
    @pytest.fixture
    def files(self, network, tmp_path):
        """Two shards and their index."""
        names = sorted(network)
        shards = {f'model-0000{i + 1}-of-00002.safetensors': names[i::2] for i in range(2)}
        for file, part in shards.items():
            save_file({name: network[name].contiguous() for name in part}, tmp_path / file)
        self.write(tmp_path, {name: file for file, part in shards.items() for name in part})
        return tmp_path

    @staticmethod
    def write(folder, weight_map):
        (folder / 'model.safetensors.index.json').write_text(json.dumps(dict(weight_map=weight_map)))

    def test_the_index_loads_them_all(self, backbone, network, files):
        load_pretrained(backbone, files / 'model.safetensors.index.json')
        check(backbone, network)

    @pytest.mark.parametrize('beside', [True, False])
    def test_one_alone_says_that_the_others_are_missing(self, backbone, files, beside):
        if not beside:
            (files / 'model.safetensors.index.json').unlink()
        with pytest.raises(CheckpointError, match=r'model\.safetensors\.index\.json') as error:
            load_pretrained(backbone, files / 'model-00001-of-00002.safetensors')
        assert (error.value.facts['shard'], error.value.facts['shards']) == (1, 2)

    def test_a_missing_one_is_named(self, backbone, files):
        (files / 'model-00002-of-00002.safetensors').unlink()
        with pytest.raises(CheckpointError) as error:
            load_pretrained(backbone, files / 'model.safetensors.index.json')
        assert error.value.facts['missing'] == ['model-00002-of-00002.safetensors']

    @pytest.mark.parametrize('name', ['../secret.safetensors', '/etc/passwd', '', 7])
    def test_no_index_leads_out_of_its_folder(self, backbone, files, name):
        self.write(files, {'norm.weight': name})
        with pytest.raises(CheckpointError, match=re.escape(repr(name))):
            load_pretrained(backbone, files / 'model.safetensors.index.json')

    @pytest.mark.parametrize('text', ['', '[]', '{}', '{"weight_map": {}}', '{"weight_map": [1]}'])
    def test_what_is_no_index(self, backbone, files, text):
        (files / 'model.safetensors.index.json').write_text(text)
        with pytest.raises(CheckpointError, match=r'index\.json'):
            load_pretrained(backbone, files / 'model.safetensors.index.json')


@V1
def test_which_of_raw_and_averaged_weights_was_taken_is_said(backbone, network, save):
    averaged = {name: tensor + 1 for name, tensor in network.items()}
    path = save({'model': network, 'model_ema': averaged})
    report = load_pretrained(backbone, path)
    assert 'model taken' in report
    assert 'model_ema' in report
    check(backbone, network)
    assert 'taken' not in load_pretrained(backbone, path, key='model_ema')
    check(backbone, averaged)


def test_what_mmengine_saves_as_state_dict_beside_an_average_is_the_average():
    content = dict(
        state_dict={'w': torch.ones(1)}, ema_state_dict={'module.w': torch.zeros(1)}, message_hub={}, meta={}
    )
    taken = tensors_in(content, 'epoch_1.pth')
    assert taken.tensors == content['state_dict']
    assert 'averaged' in taken.notes[0]


@V1
def test_a_detector_in_wrappers(toy, version, save):
    model = torch.nn.ModuleDict(dict(backbone=ConvNeXt(toy, version=version), neck=torch.nn.Linear(2, 3)))
    state = {f'_orig_mod.{name}': torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    load_detector(model, save({'state_dict': state}))
    assert all(torch.equal(tensor, state[f'_orig_mod.{name}']) for name, tensor in model.state_dict().items())
