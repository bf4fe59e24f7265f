"""Files that are damaged, foreign or of another network: each its own sentence, and the model stays as it was."""

import hashlib
import pickle
import re
import warnings
import zipfile
from unittest.mock import Mock

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import CheckpointError, convert, load_pretrained
from mmconvnext.checkpoints.dialects import DIALECTS

V1 = pytest.mark.parametrize('version', [1], indirect=True, ids=['V1'])


@pytest.fixture
def good(network, save):
    """Bytes of a file that loads."""
    return open(save({'model': network}, 'good.pth'), 'rb').read()


def refused(backbone, path, words, **options):
    """Loads a file that must be refused with these words, and checks that the backbone is as before, bit for bit."""
    with pytest.raises(CheckpointError) as caught:
        load_pretrained(backbone, path, **options)
    assert re.search(words, str(caught.value)), caught.value
    assert backbone.state_dict().keys() == backbone.before.keys()
    assert all(torch.equal(tensor, backbone.before[name]) for name, tensor in backbone.state_dict().items())


def flip(good):
    """One bit, in the middle of the weights."""
    at = len(good) // 2
    return good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]


BYTES = {
    'empty': (lambda good: b'', 'is empty'),
    'error page': (lambda good: b'\n<!DOCTYPE html><html>404</html>', 'is a web page, not a checkpoint'),
    'error of a bucket': (lambda good: b'<?xml version="1.0"?><Error>AccessDenied</Error>', 'is a web page'),
    'error of an API': (lambda good: b'{"message": "Not Found"}', r'neither a .pth nor a .safetensors file.*message'),
    'pointer of Git LFS': (lambda good: b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a', 'git lfs pull'),
    'pickle of Detectron2': (
        lambda good: pickle.dumps({'model': {'stem.conv1.weight': [1.0]}, '__author__': 'x'}),
        'is a plain pickle.*not a checkpoint of PyTorch',
    ),
    'text': (lambda good: b'convnext_tiny.pth\n', 'neither a .pth nor'),
    'archive': (lambda good: b'\x1f\x8b\x08\x00' + good, 'neither a .pth nor'),
    'noise': (lambda good: hashlib.sha512(b'noise').digest() * 9, 'neither a .pth nor'),
    'first bytes only': (lambda good: good[:3], 'neither a .pth nor'),
    'first half': (lambda good: good[: len(good) // 2], 'is damaged or cut off'),
    'last bytes missing': (lambda good: good[:-10], 'is damaged or cut off'),
    'one bit': (flip, 'is damaged or cut off .*CRC'),
}


@pytest.mark.parametrize(('damage', 'words'), BYTES.values(), ids=BYTES)
def test_bytes(backbone, good, tmp_path, damage, words):
    path = tmp_path / 'file.pth'
    path.write_bytes(damage(good))
    refused(backbone, path, words)


@V1
class TestFiles:
    def test_missing(self, backbone, tmp_path):
        refused(
            backbone, tmp_path / 'none.pth', r'there is no checkpoint .*none.pth.*--pretrained PATH.*--pretrained none'
        )

    def test_folder(self, backbone, tmp_path):
        refused(backbone, tmp_path, 'is a folder; give the checkpoint file in it')

    @pytest.mark.parametrize(
        ('checkpoint', 'words'),
        [
            (None, 'checkpoint=None names no checkpoint.*--pretrained PATH'),
            ('', "checkpoint='' names no checkpoint"),
            ('x' * 5000, 'x cannot be looked up .*too long'),
            ('http://[x/net.pth', 'is no address'),
            ('open-mmlab://convnext_tiny', 'is no address that can be read here.*hf-hub:org/name.*checkpoints list'),
        ],
    )
    def test_no_name_of_a_checkpoint(self, backbone, checkpoint, words):
        refused(backbone, checkpoint, words)

    @pytest.mark.parametrize('around', ['{} ', '{}\n', ' {}'])
    def test_space_around_a_path(self, backbone, good, tmp_path, around):
        (tmp_path / 'net.pth').write_bytes(good)
        path = around.format(tmp_path / 'net.pth')
        refused(backbone, path, rf'no checkpoint {re.escape(repr(path))}. Did you mean {str(tmp_path / "net.pth")!r}')

    def test_file_that_may_not_be_read(self, backbone, good, tmp_path, monkeypatch):
        (tmp_path / 'net.pth').write_bytes(good)

        def denied(*args):
            raise PermissionError(13, 'Permission denied')

        with monkeypatch.context() as patch:
            patch.setattr('pathlib.Path.open', denied)
            refused(backbone, tmp_path / 'net.pth', r'net.pth cannot be read \(Permission denied\)')

    def test_legacy_file_cut_off(self, backbone, network, tmp_path):
        path = tmp_path / 'file.pth'
        torch.save(network, path, _use_new_zipfile_serialization=False)
        load_pretrained(backbone, path)
        backbone.load_state_dict(backbone.before)
        good = path.read_bytes()
        for size in (2, len(good) // 2, len(good) - 1):
            path.write_bytes(good[:size])
            refused(backbone, path, 'is damaged or cut off, or not a checkpoint of PyTorch')

    def test_safetensors(self, backbone, network, tmp_path):
        path = tmp_path / 'file.safetensors'
        save_file({name: tensor.contiguous() for name, tensor in network.items()}, path)
        good = path.read_bytes()
        for damage in (good[:-1], good[:40], good[:20] + b'?' * 20 + good[40:]):
            path.write_bytes(damage)
            refused(backbone, path, 'is damaged or cut off')

    @pytest.mark.parametrize(
        'name',
        [
            'slurm-45678901.pth',
            'ckpt-00012000.pt',
            '550e8400-e29b-41d4-a716-446655440000.pth',
            'net-0123abcd.pth',
            'run-20240131.pth',
        ],
    )
    def test_what_looks_like_a_hash_in_a_users_name_is_no_promise(self, backbone, good, tmp_path, name):
        (tmp_path / name).write_bytes(good)
        load_pretrained(backbone, tmp_path / name)

    @pytest.mark.parametrize('size', [0, 300])
    def test_no_message_advises_to_delete_a_file(self, backbone, good, tmp_path, size):
        (tmp_path / 'mine.pth').write_bytes(good[:size])
        with pytest.raises(CheckpointError) as error:
            load_pretrained(backbone, tmp_path / 'mine.pth')
        assert error.value.facts['damaged']
        assert not re.search('delete|remove|download', str(error.value), re.IGNORECASE)
        assert (tmp_path / 'mine.pth').read_bytes() == good[:size]

    @pytest.mark.parametrize(
        'error', [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")]
    )
    def test_out_of_memory_is_not_called_damage(self, backbone, good, tmp_path, monkeypatch, error):
        (tmp_path / 'mine.pth').write_bytes(good)
        monkeypatch.setattr(torch, 'load', Mock(side_effect=error))
        with pytest.raises(CheckpointError, match='memory') as refusal:
            load_pretrained(backbone, tmp_path / 'mine.pth')
        assert not refusal.value.facts['damaged']

    @pytest.mark.parametrize('length', [0x80, 0x3C20])
    def test_a_safetensors_file_whose_length_looks_like_something_else(self, backbone, network, tmp_path, length):
        """One in 32 was taken for a pickle: the lowest byte of its header's length was that of a pickle."""
        save_file({name: tensor.contiguous() for name, tensor in network.items()}, tmp_path / 'x.safetensors')
        content = (tmp_path / 'x.safetensors').read_bytes()
        size = int.from_bytes(content[:8], 'little')
        padding = (length - size) % (1 << (8 if length < 256 else 16))
        header = (size + padding).to_bytes(8, 'little') + content[8 : 8 + size] + b' ' * padding
        (tmp_path / 'x.safetensors').write_bytes(header + content[8 + size :])
        load_pretrained(backbone, tmp_path / 'x.safetensors')

    def test_other_zip(self, backbone, tmp_path):
        with zipfile.ZipFile(tmp_path / 'file.pth', 'w') as archive:
            archive.writestr('notes.txt', 'hello')
        refused(backbone, tmp_path / 'file.pth', 'not a checkpoint of PyTorch')

    def test_torchscript(self, backbone, tmp_path):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(tmp_path / 'file.pth')
        refused(backbone, tmp_path / 'file.pth', 'is a TorchScript program')

    def test_python_object(self, backbone, network, save):
        refused(
            backbone, save({'model': network, 'x': re.compile('x')}), r'holds a Python object, re._compile.*allow_pick'
        )

    def test_pickle_of_something_else(self, backbone, tmp_path):
        (tmp_path / 'file.pth').write_bytes(pickle.dumps({'model': [1, 2]}))
        refused(backbone, tmp_path / 'file.pth', 'not a checkpoint of PyTorch')
        refused(backbone, tmp_path / 'file.pth', 'not a checkpoint of PyTorch', allow_pickle=True)


def names(*parts):
    return {part: torch.ones(1) for part in parts}


CONTENTS = {
    'list': ([1, 2], 'holds a list, not tensors by name'),
    'tensor': (torch.ones(3), 'holds a Tensor, not tensors by name'),
    'nothing': ({}, 'holds no dictionary of tensors.*it holds nothing'),
    'empty model': ({'model': {}}, 'holds no dictionary of tensors'),
    'optimizer': ({'optimizer': {'state': {}, 'param_groups': []}, 'epoch': 3}, 'state of an optimizer and no weights'),
    'optimizer alone': ({'state': {}, 'param_groups': []}, 'state of an optimizer and no weights'),
    'numbers': ({'model': {'stages.0.0.gamma': 1.0}}, r'it holds stages.0.0.gamma \(float\)'),
    'numbers for names': ({'model': {0: torch.ones(1)}}, r'no dictionary of tensors by name.* it holds 0 \(Tensor\)'),
    'student and teacher': ({'student': names('a'), 'teacher': names('b')}, r'it holds student \(dict\), .*key='),
    'ResNet': (names('conv1.weight', 'layer1.0.conv1.weight'), 'is not a ConvNeXt: by its names it is a ResNet'),
    'ResNet of a detector': ({'state_dict': names('backbone.layer1.0.conv1.weight')}, 'it is a ResNet'),
    'ViT': (names('patch_embed.proj.weight', 'blocks.0.attn.qkv.weight'), 'it is a Vision Transformer'),
    'ViT of Hugging Face': (names('vit.encoder.layer.0.attention.attention.query.weight'), 'a Vision Transformer'),
    'Swin': (names('layers.0.blocks.0.attn.relative_position_bias_table'), 'it is a Swin Transformer'),
    'isotropic ConvNeXt': (names('blocks.0.dwconv.weight', 'blocks.0.gamma'), 'an isotropic ConvNeXt, which has no'),
    'unknown network': (
        names('fc.weight', 'fc.bias'),
        r'no ConvNeXt that is known here, but 2 tensors \(fc.bias, fc.w',
    ),
}


@V1
@pytest.mark.parametrize(('content', 'words'), CONTENTS.values(), ids=CONTENTS)
def test_contents(backbone, save, content, words):
    refused(backbone, save(content), words)


@V1
def test_foreign_files_get_a_list_of_what_is_known(backbone, save):
    refused(
        backbone, save(CONTENTS['ResNet'][0]), 'those of official, mmconvnext, DINOv3.*timm.*torchvision.*MMPretrain'
    )


def without(*endings):
    return lambda s: [s.pop(name) for name in list(s) if name.endswith(endings)]


def put(name, value):
    return lambda s: s.update({name: value})


def change(name, index, value):
    return lambda s: s[name].view(-1).__setitem__(index, value)


TENSORS = {
    'missing': (without('stages.1.0.dwconv.weight'), r'1 tensor \(stages.1.0.dwconv.weight\) missing'),
    'many missing': (without('pwconv2.weight'), r'8 tensors \(stages.0.0.pwconv2.weight, .*, \.\.\.\) missing'),
    'stem missing': (without('downsample_layers.0.0.weight'), r'downsample_layers.0.0.weight\) missing'),
    'no biases, as with RMSNorm': (without('.norm.bias'), r'8 tensors \(.*norm.bias, ...\) missing'),
    'last block missing': (
        lambda s: [s.pop(n) for n in list(s) if n.startswith('stages.2.3')],
        r'is V\d of depths \(1, 2, 3, 1\).*fits with arch={.depths.: \(1, 2, 3, 1\), .widths.: \(4, 8, 12, 16\)}',
    ),
    'last stage missing': (
        lambda s: [s.pop(n) for n in list(s) if n.startswith(('stages.3', 'downsample_layers.3'))],
        r'It fits with out_indices=\(0, 1, 2\)',
    ),
    'one block too many': (
        put('stages.1.2.dwconv.weight', torch.ones(8, 1, 7, 7)),
        r'fits with arch={.depths.: \(1, 3,',
    ),
    'blocks missing before another': (
        put('stages.1.7.dwconv.weight', torch.ones(8, 1, 7, 7)),
        r'is incomplete: all of stages.1.2, stages.1.3, stages.1.4, ... is missing',
    ),
    'stage missing before another': (
        lambda s: [s.pop(n) for n in list(s) if n.startswith('stages.1.')],
        r'is incomplete: all of stages.1.0 is missing',
    ),
    'unknown layer': (put('stages.1.0.norm2.weight', torch.ones(8)), r'but also 1 tensor \(stages.1.0.norm2.weight\)'),
    'half an output norm': (put('norm2.weight', torch.ones(12)), r'1 tensor \(norm2.bias\) missing'),
    'other kernel': (
        put('stages.0.0.dwconv.weight', torch.ones(4, 1, 5, 5)),
        r'stages.0.0.dwconv.weight is \(4, 1, 5, 5\) there and \(4, 1, 7, 7\) here',
    ),
    'other stem': (
        put('downsample_layers.0.0.weight', torch.ones(4, 3, 2, 2)),
        r'is \(4, 3, 2, 2\) there and \(4, 3, 4, 4',
    ),
    'scalar': (put('stages.0.0.norm.weight', torch.tensor(1.0)), r'norm.weight is \(\) there and \(4,\) here'),
    'NaN': (
        change('stages.2.1.norm.bias', 3, float('nan')),
        '1 of the 12 values of stages.2.1.norm.bias are NaN or inf',
    ),
    'infinite': (change('stages.2.1.norm.bias', 3, float('inf')), 'stages.2.1.norm.bias are NaN or infinite'),
    'quantized': (
        put('stages.0.0.pwconv1.weight', torch.ones(16, 4, dtype=torch.int8)),
        'stages.0.0.pwconv1.weight is of torch.int8, not of torch.float32',
    ),
    '8-bit floats': (
        lambda s: s.update({n: t.to(torch.float8_e4m3fn) for n, t in s.items()}),
        r'downsample_layers.0.0.weight is of torch.float8_e4m3fn, not of torch.float32',
    ),
    'sparse': (
        lambda s: s.update({'stages.0.0.pwconv1.weight': s['stages.0.0.pwconv1.weight'].to_sparse()}),
        'holds stages.0.0.pwconv1.weight without its values, or as a sparse tensor',
    ),
    'meta': (put('norm.weight', torch.ones(16, device='meta')), 'holds norm.weight without its values, or as a sparse'),
    'stem for no channels': (
        put('downsample_layers.0.0.weight', torch.ones(4, 0, 4, 4)),
        r'is \(4, 0, 4, 4\) there and \(4, 3, 4, 4\) here',
    ),
    'scalar for a kernel': (
        put('stages.0.0.dwconv.weight', torch.tensor(1.0)),
        r'dwconv.weight is \(\) there and \(4, 1, 7, 7\) here',
    ),
    'too large for float32': (
        put('stages.0.0.norm.bias', torch.tensor([0, 1e39, 1e38, -1e300], dtype=torch.float64)),
        '2 of the 4 values of stages.0.0.norm.bias are NaN or infinite as torch.float32',
    ),
    'stage that no network has': (
        put('stages.99999999.0.dwconv.weight', torch.ones(4, 1, 7, 7)),
        r'but also 1 tensor \(stages.99999999.0.dwconv.weight\), which no ConvNeXt has',
    ),
    'block that no network has': (
        put(f'stages.0.{"9" * 5000}.dwconv.weight', torch.ones(4, 1, 7, 7)),
        r'but also 1 tensor \(stages.0.9+.dwconv.weight\), which no ConvNeXt has',
    ),
    'norm that no network has': (put('norm7.weight', torch.ones(16)), r'but also 1 tensor \(norm7.weight\)'),
    'five stages': (
        lambda s: s.update({n.replace('s.3.', 's.4.'): t for n, t in s.items() if 's.3.' in n}),
        r'but also \d+ tensors \(downsample_layers.4.0.bias, .*which no ConvNeXt has',
    ),
    'two final norms': (put('norms.3.bias', torch.ones(16)), 'holds norm.bias twice, the second time as norms.3.bias'),
}


@pytest.mark.parametrize(('damage', 'words'), TENSORS.values(), ids=TENSORS)
def test_tensors(backbone, network, save, damage, words):
    damage(network)
    refused(backbone, save(network), words)


@pytest.mark.parametrize('version', [2], indirect=True, ids=['V2'])
@pytest.mark.parametrize('shape', [(), (0, 8), (49,), (48, 8), (49, 0)], ids=str)
def test_kernels_of_sparse_fcmae(backbone, network, save, shape):
    fcmae = next(d for d in DIALECTS if d.name == 'fcmae')
    state = dict(t for name, tensor in network.items() if (t := fcmae.to_theirs(name, tensor)))
    state['encoder.stages.1.0.dwconv.kernel'] = torch.ones(shape)
    refused(
        backbone, save(state), rf'stages.1.0.dwconv.weight is {re.escape(str(shape))} there and \(8, 1, 7, 7\) here'
    )


@pytest.mark.parametrize('dtype', [torch.float8_e4m3fn, torch.int32, torch.bool])
def test_stem_of_another_type_is_not_adapted(toy, version, network, save, dtype):
    model = ConvNeXt(toy, version=version, in_channels=4)
    model.before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network['downsample_layers.0.0.weight'] = network['downsample_layers.0.0.weight'].to(dtype)
    refused(model, save(network), rf'downsample_layers.0.0.weight is of {dtype}, not of torch.float32')


@V1
def test_overlapping_stem_of_timm(backbone, save):
    peer = timm.create_model('convnext_atto_ols', num_classes=3)
    refused(backbone, save(peer.state_dict()), r'names of timm, but also 2 tensors \(stem.2.bias, stem.2.weight\)')


@V1
@pytest.mark.parametrize('name', ['test_convnext', 'test_convnext2'])
def test_networks_of_timm_with_another_eps(backbone, save, name):
    peer = timm.create_model(name)
    assert {m.eps for m in peer.modules() if isinstance(m, nn.LayerNorm)} == {1e-5}
    refused(backbone, save(peer.state_dict()), f'is the {name} of timm, whose norms have an eps of 1e-5')


@V1
def test_last_block_of_a_known_size_missing(backbone, save):
    with torch.device('meta'):
        shapes = {n: t.shape for n, t in ConvNeXt('nano').state_dict().items() if not n.startswith('stages.2.7.')}
    path = save({name: torch.zeros(()).expand(shape) for name, shape in shapes.items()})
    refused(backbone, path, r"arch={.*} in the backbone's config, unless it is an incomplete nano, without stages.2.7")


@V1
@pytest.mark.parametrize('home', ['', 'visual.trunk.'], ids=['timm', 'OpenCLIP'])
def test_xxlarge_of_openclip_has_another_eps(backbone, save, home):
    with torch.device('meta'):
        peer = timm.create_model('convnext_xxlarge', num_classes=0)
    assert {m.eps for m in peer.modules() if isinstance(m, nn.LayerNorm)} == {1e-5}
    # Shapes alone tell it
    state = {f'{home}{n}': torch.zeros(()).expand(t.shape) for n, t in peer.state_dict().items()}
    path = save(state)
    refused(backbone, path, 'xxlarge ConvNeXt of OpenCLIP, whose norms have an eps of 1e-5')
    with pytest.raises(CheckpointError, match='whose norms have an eps of 1e-5'):
        convert(state, 'official')


OTHERS = {
    'version 1': (dict(version=2), dict(version=1), r'is V2 .* fits with version=2, layer_scale_init_value=None in'),
    'version 2': (dict(version=1), dict(version=2), r'is V1 .* fits with version=1, layer_scale_init_value=1.0 in'),
    'no layer scale': (
        dict(layer_scale_init_value=0),
        dict(),
        r'is V1 .* without layer scale, .* fits with layer_scale_init_value=0 in',
    ),
    'layer scale': (dict(), dict(layer_scale_init_value=0), r'fits with layer_scale_init_value=1.0 in'),
    'size by name': (
        dict(arch='atto'),
        dict(),
        r"is V1 atto, and the backbone is V1 of depths .* fits with arch='atto' in",
    ),
    'size and version': (
        dict(arch='atto', version=2),
        dict(),
        r"is V2 atto.* fits with arch='atto', version=2, layer_sc",
    ),
    'other widths': (
        dict(arch=dict(depths=(1, 2, 4, 1), widths=(4, 8, 12, 20))),
        dict(),
        r'arch={.depths.: \(1, 2, 4, 1\), .widths.: \(4, 8, 12, 20\)}',
    ),
    'channels': (
        dict(in_channels=4),
        dict(),
        r'for images of 4 channels, .* in_channels=3, .*refuse.* Set in_channels=4',
    ),
}


@pytest.mark.parametrize(('theirs', 'ours', 'words'), OTHERS.values(), ids=OTHERS)
def test_other_networks(toy, save, theirs, ours, words):
    donor = ConvNeXt(**(dict(arch=toy) | theirs))
    model = ConvNeXt(**(dict(arch=toy) | ours))
    model.before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    refused(model, save(donor.state_dict()), words, adapt_stem='refuse')


@V1
class TestOptions:
    def test_fewer_channels_by_zeros(self, toy, network, save):
        with pytest.raises(CheckpointError, match=r"adapt_stem='zero' does not allow.*adapt_stem='repeat'"):
            load_pretrained(ConvNeXt(toy, in_channels=1), save(network), adapt_stem='zero')

    def test_unknown_way_to_adapt_the_stem(self, backbone, network, save):
        refused(backbone, save(network), "adapt_stem='mean' must be one of repeat, zero, refuse", adapt_stem='mean')

    def test_no_such_key(self, backbone, network, save):
        refused(
            backbone, save({'model': network, 'epoch': 3}), r"no key='ema'; it holds model \(dict\), epoch", key='ema'
        )

    def test_no_such_prefix(self, backbone, network, save):
        path = save({f'backbone.{n}': t for n, t in network.items()})
        refused(backbone, path, r"no ConvNeXt under prefix='teacher.'; it has one under 'backbone.'", prefix='teacher')

    def test_several_networks(self, backbone, network, save):
        both = {f'{who}.{n}': t for n, t in network.items() for who in ('student', 'teacher')}
        refused(backbone, save(both), r"holds 2 ConvNeXts, under student. and teacher.; .*prefix='student.'")

    def test_no_final_norm(self, backbone, network, save):
        del network['norm.bias']
        refused(backbone, save(network), 'has no norm before a classifier', final_norm=True)

    def test_final_norm_without_last_stage(self, toy, network, save):
        with pytest.raises(CheckpointError, match='final_norm=True needs the output of stage 3'):
            load_pretrained(ConvNeXt(toy, out_indices=(0, 1)), save(network), final_norm=True)

    def test_both_versions_at_once(self, backbone, network, save):
        network['stages.0.0.grn.gamma'] = network['stages.0.0.grn.beta'] = torch.ones(16)
        refused(backbone, save(network), 'has both global response normalization and layer scale')
