import runpy
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import load_file

from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import CheckpointError, convert, convert_file, load_pretrained
from mmconvnext.checkpoints.dialects import TARGETS


def targets(version):
    # FCMAE's sparse code has neither V1 nor a classifier; tests/pretraining/test_checkpoints.py converts to it
    others = ('fcmae',) if version == 1 else ('fcmae', 'torchvision')
    return [target for target in TARGETS if target not in others]


def test_through_every_dialect_and_back_is_bit_exact(network, version):
    state = network
    for target in (*targets(version), *targets(version)[::-1]):
        state = convert(state, target).state
        again = convert(convert(state, 'official').state, target).state
        assert again.keys() == state.keys()
        assert all(torch.equal(again[name], tensor) for name, tensor in state.items())
    assert state.keys() == network.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in network.items())


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_files(network, version, save, tmp_path, backbone, suffix):
    source = save({'model': network}, 'source.pth')
    for target in targets(version):
        line = convert_file(source, tmp_path / f'{target}{suffix}', target)
        assert f'{target}{suffix}: {len(network)} tensors, ' in line
        load_pretrained(backbone, tmp_path / f'{target}{suffix}')
        assert torch.equal(backbone.stages[2][3].pwconv2.weight, network['stages.2.3.pwconv2.weight'])
    assert {p.stem for p in tmp_path.iterdir()} == {'source', *targets(version)}  # no temporary file is left


def test_files_look_as_their_readers_expect(network, save, tmp_path, version):
    source = save({'model': network}, 'source.pth')
    for target, wrapper in (('official', 'model'), ('mmpretrain', 'state_dict'), ('mmconvnext', 'state_dict')):
        convert_file(source, tmp_path / 'out.pth', target, force=True)
        assert list(torch.load(tmp_path / 'out.pth')) == [wrapper]
    convert_file(source, tmp_path / 'out.pth', 'timm', force=True)
    assert 'stem.0.weight' in torch.load(tmp_path / 'out.pth')
    convert_file(source, tmp_path / 'out.safetensors', 'hf')
    home = 'convnext' if version == 1 else 'convnextv2'
    assert f'{home}.embeddings.patch_embeddings.weight' in load_file(tmp_path / 'out.safetensors')


def test_one_network_of_several(network, save, tmp_path, backbone):
    both = {f'{who}.{n}': t + i for n, t in network.items() for i, who in enumerate(('student', 'teacher'))}
    out = tmp_path / 'out.pth'
    convert_file(save({'best': both}, 'source.pth'), out, 'timm', key='best', prefix='teacher')
    load_pretrained(backbone, out)
    assert torch.equal(backbone.stages[0][0].norm.bias, network['stages.0.0.norm.bias'] + 1)


def test_types_are_kept(network):
    half = {name: tensor.bfloat16() for name, tensor in network.items()}
    assert {tensor.dtype for tensor in convert(half, 'timm').state.values()} == {torch.bfloat16}


def test_nothing_is_replaced_or_half_written(network, save, tmp_path, monkeypatch):
    source = save({'model': network}, 'source.pth')
    out = tmp_path / 'out.pth'
    out.write_text('precious')
    monkeypatch.setattr(torch, 'save', Mock(side_effect=OSError('No space left on device')))
    for destination, force, word in ((out, False, '--force'), (tmp_path, True, 'folder'), (out, True, 'No space left')):
        with pytest.raises(CheckpointError, match=word) as error:
            convert_file(source, destination, 'timm', force=force)
        assert error.value.facts['file'] == destination
    assert out.read_text() == 'precious'
    assert {p.name for p in tmp_path.iterdir()} == {'source.pth', 'out.pth'}


@pytest.mark.parametrize('version', [2], indirect=True)
def test_what_a_dialect_does_not_have_is_an_error(network):
    with pytest.raises(CheckpointError) as error:
        convert(network, 'torchvision')
    assert error.value.facts['nameless'] == sorted(name for name in network if '.grn.' in name)
    with pytest.raises(CheckpointError, match='torchvision') as error:
        convert(network, 'onnx')
    assert error.value.facts['target'] == 'onnx'


def test_output_norms_without_a_place_are_named(toy, version):
    converted = convert(ConvNeXt(toy, version=version).state_dict(), 'timm')
    assert converted.left_out == [f'norm{i}.{p}' for i in range(4) for p in ('bias', 'weight')]
    assert not convert(ConvNeXt(toy, version=version).state_dict(), 'mmpretrain').left_out


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_a_file_that_cannot_be_written_is_named(network, save, suffix):
    out = Path(f'/proc/nope/x.{suffix}')
    with pytest.raises(CheckpointError, match='No such file') as error:
        convert_file(save({'model': network}), out, 'timm')
    assert error.value.facts['file'] == out


def test_what_would_be_read_as_something_else_is_not_written(toy):
    """MMPretrain has no other name for the norm of stage 3 alone than that of the norm before a classifier."""
    state = ConvNeXt(toy, out_indices=(3,)).state_dict()
    with pytest.raises(CheckpointError) as error:
        convert(state, 'mmpretrain')
    assert error.value.facts['ambiguous'] == ['norm3.bias', 'norm3.weight']
    assert convert(convert(state, 'hf').state, 'mmconvnext').state.keys() == state.keys()


@pytest.mark.parametrize('target', ['mmconvnext', 'timm'])
def test_a_stage_without_width_is_damage(network, target):
    state = {n: t[:0] if n.startswith('stages.1.') else t for n, t in network.items()}
    with pytest.raises(CheckpointError) as error:
        convert(state, target, 'net.pth')
    assert error.value.facts['file'] == 'net.pth'


def test_damaged_networks_are_not_converted(network, toy):
    with pytest.raises(CheckpointError) as error:
        convert({n: t for n, t in network.items() if n != 'stages.1.0.dwconv.weight'}, 'timm')
    assert error.value.facts['missing'] == ['stages.1.0.dwconv.weight']
    with pytest.raises(CheckpointError) as error:
        convert(ConvNeXt(toy, out_indices=(1,)).state_dict(), 'timm')
    assert error.value.facts['stages'] == 2


@pytest.mark.parametrize('version', [1], indirect=True)
def test_command_line(network, save, root, tmp_path, monkeypatch, capsys):
    source, out = save({'model': network}, 'source.pth'), str(tmp_path / 'out.safetensors')

    def run(path, *arguments):
        monkeypatch.setattr(sys, 'argv', [path, *arguments])
        runpy.run_path(path, run_name='__main__')
        return capsys.readouterr().out

    tool = str(root / 'tools/convert_checkpoint.py')
    assert f'out.safetensors: {len(network)} tensors, timm V' in run(tool, source, out, '--to', 'timm')
    with pytest.raises(SystemExit) as ended:
        run(tool, source, out, '--to', 'timm')
    assert ended.value.code == 2
    assert out in capsys.readouterr().err
    assert 'names    timm\n' in run(str(root / 'mmconvnext/checkpoints/__main__.py'), 'inspect', out)
    assert 'convnext_tiny.in1k ' in run(str(root / 'mmconvnext/checkpoints/__main__.py'), 'list')
