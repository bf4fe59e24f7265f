"""Files that are damaged, foreign or of another network are refused, and the model keeps its values."""

import hashlib
import pickle
import re
import tarfile
import tempfile
import warnings
import zipfile
from pathlib import Path
from unittest.mock import Mock

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import CheckpointError, convert, load_pretrained
from mmconvnext.checkpoints.dialects import DIALECTS
from mmconvnext.checkpoints.errors import UnsafeFileError

V1 = pytest.mark.parametrize('version', [1], indirect=True, ids=['V1'])
V2 = pytest.mark.parametrize('version', [2], indirect=True, ids=['V2'])


@pytest.fixture
def good(network, save):
    """Bytes of a file that loads."""
    return open(save({'model': network}, 'good.pth'), 'rb').read()


def refused(backbone, path, options=(), **facts):
    """Checks that a file is refused with these facts, and that the backbone keeps its values; returns the error."""
    with pytest.raises(CheckpointError) as caught:
        load_pretrained(backbone, path, **dict(options))
    assert {name: caught.value.facts.get(name) for name in facts} == facts, caught.value
    assert backbone.state_dict().keys() == backbone.before.keys()
    assert all(torch.equal(tensor, backbone.before[name]) for name, tensor in backbone.state_dict().items())
    return caught.value


def flip(good):
    """One bit, in the middle of the weights."""
    at = len(good) // 2
    return good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]


def archive(kind):
    """An archive of a checkpoint, as browsers and cloud drives make them."""
    with tempfile.TemporaryDirectory() as folder:
        torch.save({}, f'{folder}/model.pth')
        with kind(f'{folder}/x', 'w') as file:
            getattr(file, 'add', getattr(file, 'write', None))(f'{folder}/model.pth', 'model.pth')
        return Path(f'{folder}/x').read_bytes()


PICKLE = pickle.dumps({'model': {'stem.conv1.weight': [1.0]}, '__author__': 'x'})
OTHER_FILES = {
    'error page': (b'\n<!DOCTYPE html><html>404</html>', 'a web page'),
    'error of a bucket': (b'<?xml version="1.0"?><Error>AccessDenied</Error>', 'a web page'),
    'error of an API': (b'{"message": "Not Found"}', 'of an unknown format'),
    'pointer of Git LFS': (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a', 'a Git LFS pointer'),
    'pickle of Detectron2': (PICKLE, 'a plain pickle'),
    'text': (b'convnext_tiny.pth\n', 'of an unknown format'),
    'gzip': (b'\x1f\x8b\x08\x00', 'a gzip archive'),
    'tar': (archive(tarfile.open), 'a tar archive'),
    'zip': (archive(zipfile.ZipFile), 'a zip archive'),
    'noise': (hashlib.sha512(b'noise').digest() * 9, 'of an unknown format'),
    'first bytes of a zip file': (b'PK\x03', 'of an unknown format'),
}
DAMAGES = {
    'empty': lambda good: b'',
    'first half': lambda good: good[: len(good) // 2],
    'last bytes missing': lambda good: good[:-10],
    'one bit': flip,
}


@V1
class TestFiles:
    @pytest.mark.parametrize(('content', 'found'), OTHER_FILES.values(), ids=OTHER_FILES)
    def test_other_formats(self, backbone, tmp_path, content, found):
        path = tmp_path / 'file.pth'
        path.write_bytes(content)
        refused(backbone, path, file=path, found=found)

    @pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES)
    def test_no_message_advises_to_delete_a_damaged_file(self, backbone, good, tmp_path, damage):
        path = tmp_path / 'mine.pth'
        path.write_bytes(damage(good))
        error = refused(backbone, path, file=path, damaged=True)
        assert not re.search('delete|remove|download', str(error), re.IGNORECASE)
        assert path.read_bytes() == damage(good)

    def test_missing(self, backbone, tmp_path):
        path = tmp_path / 'none.pth'
        error = refused(backbone, path, checkpoint=str(path))
        assert '--pretrained none' in str(error)

    def test_folder(self, backbone, tmp_path):
        refused(backbone, tmp_path, checkpoint=str(tmp_path))

    @pytest.mark.parametrize(
        ('checkpoint', 'fact'),
        [
            (None, 'checkpoint'),
            ('', 'checkpoint'),
            ('x' * 5000, 'checkpoint'),
            ('http://[x/net.pth', 'url'),
            ('open-mmlab://convnext_tiny', 'checkpoint'),
        ],
    )
    def test_names_of_no_checkpoint(self, backbone, checkpoint, fact):
        refused(backbone, checkpoint, **{fact: checkpoint})

    @pytest.mark.parametrize('around', ['{} ', '{}\n', ' {}'])
    def test_space_around_a_path(self, backbone, good, tmp_path, around):
        path = tmp_path / 'net.pth'
        path.write_bytes(good)
        refused(backbone, around.format(path), similar=[repr(str(path))])

    def test_file_that_may_not_be_read(self, backbone, good, tmp_path, monkeypatch):
        path = tmp_path / 'net.pth'
        path.write_bytes(good)
        with monkeypatch.context() as patch:
            patch.setattr('pathlib.Path.open', Mock(side_effect=PermissionError(13, 'Permission denied')))
            error = refused(backbone, path, file=path)
        assert 'Permission denied' in str(error)

    def test_legacy_file_cut_off(self, backbone, network, tmp_path):
        path = tmp_path / 'file.pth'
        torch.save(network, path, _use_new_zipfile_serialization=False)
        load_pretrained(backbone, path)
        backbone.load_state_dict(backbone.before)
        good = path.read_bytes()
        for size in (2, len(good) // 2, len(good) - 1):
            path.write_bytes(good[:size])
            refused(backbone, path, file=path, damaged=True)

    def test_safetensors(self, backbone, network, tmp_path):
        path = tmp_path / 'file.safetensors'
        save_file({name: tensor.contiguous() for name, tensor in network.items()}, path)
        good = path.read_bytes()
        for damage in (good[:-1], good[:40], good[:20] + b'?' * 20 + good[40:]):
            path.write_bytes(damage)
            refused(backbone, path, file=path, damaged=True)

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

    @pytest.mark.parametrize(
        'error', [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")]
    )
    def test_out_of_memory_is_not_called_damage(self, backbone, good, tmp_path, monkeypatch, error):
        path = tmp_path / 'mine.pth'
        path.write_bytes(good)
        monkeypatch.setattr(torch, 'load', Mock(side_effect=error))
        refused(backbone, path, file=path, damaged=False, bytes=len(good))

    def test_checksums_are_compared_once(self, backbone, good, tmp_path, monkeypatch):
        """Every process of a machine read the whole file two or three times."""
        opened = []
        archive = zipfile.ZipFile
        monkeypatch.setattr(zipfile, 'ZipFile', lambda path: opened.append(path) or archive(path))
        path = tmp_path / 'mine.pth'
        path.write_bytes(good)
        load_pretrained(backbone, path)
        load_pretrained(backbone, path)
        assert opened == [path]
        path.write_bytes(good + bytes(1))  # another file
        load_pretrained(backbone, path)
        assert opened == [path, path]
        monkeypatch.setenv('LOCAL_RANK', '1')
        (tmp_path / 'other.pth').write_bytes(good)
        load_pretrained(backbone, tmp_path / 'other.pth')
        assert opened == [path, path]

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
        path = tmp_path / 'file.pth'
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('notes.txt', 'hello')
        refused(backbone, path, file=path, found='a zip archive')

    def test_torchscript(self, backbone, tmp_path):
        path = tmp_path / 'file.pth'
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(path)
            refused(backbone, path, file=path, found='a TorchScript program')

    def test_python_object(self, backbone, network, save):
        error = refused(backbone, save({'model': network, 'x': re.compile('x')}), object='re._compile')
        assert isinstance(error, UnsafeFileError)
        assert 'allow_pickle=True' in str(error)

    @pytest.mark.filterwarnings('ignore:Detected pickle protocol')
    @pytest.mark.parametrize('allow_pickle', [False, True])
    def test_short_pickle(self, backbone, tmp_path, allow_pickle):
        path = tmp_path / 'file.pth'
        path.write_bytes(pickle.dumps({'model': [1, 2]}))
        refused(backbone, path, dict(allow_pickle=allow_pickle), file=path, damaged=True)


def names(*parts):
    return {part: torch.ones(1) for part in parts}


CONTENTS = {
    'list': ([1, 2], dict(found='list')),
    'tensor': (torch.ones(3), dict(found='Tensor')),
    'nothing': ({}, dict(entries=[])),
    'empty model': ({'model': {}}, dict(entries=[])),
    'optimizer': ({'optimizer': {'state': {}}, 'epoch': 3}, dict(found='the state of an optimizer')),
    'optimizer alone': ({'state': {}, 'param_groups': []}, dict(found='the state of an optimizer')),
    'numbers': ({'model': {'stages.0.0.gamma': 1.0}}, dict(entries=['stages.0.0.gamma'])),
    'numbers for names': ({'model': {0: torch.ones(1)}}, dict(entries=[0])),
    'student and teacher': ({'student': names('a'), 'teacher': names('b')}, dict(entries=['student', 'teacher'])),
    'ResNet': (names('conv1.weight', 'layer1.0.conv1.weight'), dict(network='a ResNet')),
    'ResNet of a detector': ({'state_dict': names('backbone.layer1.0.conv1.weight')}, dict(network='a ResNet')),
    'ViT': (names('patch_embed.proj.weight', 'blocks.0.attn.qkv.weight'), dict(network='a Vision Transformer')),
    'ViT of Hugging Face': (
        names('vit.encoder.layer.0.attention.attention.query.weight'),
        dict(network='a Vision Transformer'),
    ),
    'Swin': (names('layers.0.blocks.0.attn.relative_position_bias_table'), dict(network='a Swin Transformer')),
    'isotropic ConvNeXt': (
        names('blocks.0.dwconv.weight', 'blocks.0.gamma'),
        dict(network='an isotropic ConvNeXt, which has no stages'),
    ),
    'unknown network': (names('fc.weight', 'fc.bias'), dict(network=None, tensors=['fc.weight', 'fc.bias'])),
}


@V1
@pytest.mark.parametrize(('content', 'facts'), CONTENTS.values(), ids=CONTENTS)
def test_contents(backbone, save, content, facts):
    path = save(content)
    refused(backbone, path, file=path, **facts)


@V1
def test_foreign_files_get_a_list_of_what_is_known(backbone, save):
    error = refused(backbone, save(CONTENTS['ResNet'][0]))
    assert all(dialect.label in str(error) for dialect in DIALECTS)


def without(*endings):
    return lambda s: [s.pop(name) for name in list(s) if name.endswith(endings)]


def without_beginnings(*beginnings):
    return lambda s: [s.pop(name) for name in list(s) if name.startswith(beginnings)]


def put(name, value):
    return lambda s: s.update({name: value})


def change(name, index, value):
    return lambda s: s[name].view(-1).__setitem__(index, value)


def arch(*depths):
    return dict(depths=depths, widths=(4, 8, 12, 16))


BLOCKS = [(i, j) for i, depth in enumerate((1, 2, 4, 1)) for j in range(depth)]
DWCONV, PWCONV = 'stages.0.0.dwconv.weight', 'stages.0.0.pwconv1.weight'
STEM = 'downsample_layers.0.0.weight'

TENSORS = {
    'missing': (without('stages.1.0.dwconv.weight'), dict(missing=['stages.1.0.dwconv.weight'], unexpected=[])),
    'many missing': (without('pwconv2.weight'), dict(missing=[f'stages.{i}.{j}.pwconv2.weight' for i, j in BLOCKS])),
    'stem missing': (without(STEM), dict(missing=[STEM])),
    'no biases, as with RMSNorm': (
        without('.norm.bias'),
        dict(missing=[f'stages.{i}.{j}.norm.bias' for i, j in BLOCKS]),
    ),
    'last block missing': (without_beginnings('stages.2.3'), dict(settings=dict(arch=arch(1, 2, 3, 1)))),
    'last stage missing': (
        without_beginnings('stages.3', 'downsample_layers.3'),
        dict(settings=dict(out_indices=(0, 1, 2))),
    ),
    'one block too many': (
        put('stages.1.2.dwconv.weight', torch.ones(8, 1, 7, 7)),
        dict(settings=dict(arch=arch(1, 3, 4, 1))),
    ),
    'blocks missing before another': (
        put('stages.1.7.dwconv.weight', torch.ones(8, 1, 7, 7)),
        dict(missing=[f'stages.1.{j}' for j in range(2, 7)]),
    ),
    'stage missing before another': (without_beginnings('stages.1.'), dict(missing=['stages.1.0'])),
    'unknown layer': (put('stages.1.0.norm2.weight', torch.ones(8)), dict(unknown=['stages.1.0.norm2.weight'])),
    'half an output norm': (put('norm2.weight', torch.ones(12)), dict(missing=['norm2.bias'])),
    'other kernel': (
        put(DWCONV, torch.ones(4, 1, 5, 5)),
        dict(misshapen=[DWCONV], shape=(4, 1, 5, 5), expected=(4, 1, 7, 7)),
    ),
    'other stem': (put(STEM, torch.ones(4, 3, 2, 2)), dict(misshapen=[STEM], shape=(4, 3, 2, 2))),
    'stem for no channels': (put(STEM, torch.ones(4, 0, 4, 4)), dict(misshapen=[STEM], expected=(4, 3, 4, 4))),
    'scalar': (put('stages.0.0.norm.weight', torch.tensor(1.0)), dict(shape=(), expected=(4,))),
    'scalar for a kernel': (put(DWCONV, torch.tensor(1.0)), dict(shape=(), expected=(4, 1, 7, 7))),
    'NaN': (change('stages.2.1.norm.bias', 3, float('nan')), dict(tensor='stages.2.1.norm.bias', count=1)),
    'infinite': (change('stages.2.1.norm.bias', 3, float('inf')), dict(tensor='stages.2.1.norm.bias', count=1)),
    'too large for float32': (
        put('stages.0.0.norm.bias', torch.tensor([0, 1e39, 1e38, -1e300], dtype=torch.float64)),
        dict(tensor='stages.0.0.norm.bias', count=2),
    ),
    'quantized': (put(PWCONV, torch.ones(16, 4, dtype=torch.int8)), dict(tensor=PWCONV, dtype=torch.int8)),
    '8-bit floats': (
        lambda s: s.update({n: t.to(torch.float8_e4m3fn) for n, t in s.items()}),
        dict(tensor=STEM, dtype=torch.float8_e4m3fn),
    ),
    'sparse': (lambda s: s.update({PWCONV: s[PWCONV].to_sparse()}), dict(tensor=PWCONV)),
    'meta': (put('norm.weight', torch.ones(16, device='meta')), dict(tensor='norm.weight')),
    'stage that no network has': (
        put('stages.99999999.0.dwconv.weight', torch.ones(4, 1, 7, 7)),
        dict(unknown=['stages.99999999.0.dwconv.weight']),
    ),
    'block that no network has': (
        put(f'stages.0.{"9" * 5000}.dwconv.weight', torch.ones(4, 1, 7, 7)),
        dict(unknown=[f'stages.0.{"9" * 5000}.dwconv.weight']),
    ),
    'norm that no network has': (put('norm7.weight', torch.ones(16)), dict(unknown=['norm7.weight'])),
    'two final norms': (put('norms.3.bias', torch.ones(16)), dict(tensor='norms.3.bias')),
}


@V1
@pytest.mark.filterwarnings('ignore:Validating sparse tensor')
@pytest.mark.parametrize(('damage', 'facts'), TENSORS.values(), ids=TENSORS)
def test_tensors(backbone, network, save, damage, facts):
    damage(network)
    path = save(network)
    refused(backbone, path, file=path, **facts)


@V1
def test_five_stages(backbone, network, save):
    network |= {n.replace('s.3.', 's.4.'): t for n, t in network.items() if 's.3.' in n}
    error = refused(backbone, save(network))
    assert set(error.facts['unknown']) == {name for name in network if 's.4.' in name}


@V2
@pytest.mark.parametrize('shape', [(), (0, 8), (49,), (48, 8), (49, 0)], ids=str)
def test_kernels_of_sparse_fcmae(backbone, network, save, shape):
    fcmae = next(d for d in DIALECTS if d.name == 'fcmae')
    state = dict(t for name, tensor in network.items() if (t := fcmae.to_theirs(name, tensor)))
    state['encoder.stages.1.0.dwconv.kernel'] = torch.ones(shape)
    refused(backbone, save(state), misshapen=['stages.1.0.dwconv.weight'], shape=shape, expected=(8, 1, 7, 7))


@V1
@pytest.mark.parametrize('dtype', [torch.float8_e4m3fn, torch.int32, torch.bool])
def test_stem_of_another_type_is_not_adapted(toy, network, save, dtype):
    model = ConvNeXt(toy, in_channels=4)
    model.before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network[STEM] = network[STEM].to(dtype)
    refused(model, save(network), tensor=STEM, dtype=dtype)


@V1
def test_overlapping_stem_of_timm(backbone, save):
    with torch.device('meta'):
        peer = timm.create_model('convnext_atto_ols', num_classes=3)
    state = {name: torch.zeros(()).expand(t.shape) for name, t in peer.state_dict().items()}
    refused(backbone, save(state), unknown=['stem.2.weight', 'stem.2.bias'])


@V1
@pytest.mark.parametrize('name', ['test_convnext', 'test_convnext2'])
def test_networks_of_timm_with_another_eps(backbone, save, name):
    peer = timm.create_model(name)
    assert {m.eps for m in peer.modules() if isinstance(m, nn.LayerNorm)} == {1e-5}
    refused(backbone, save(peer.state_dict()), network=f'the {name} of timm')


@V1
def test_last_block_of_a_known_size_missing(backbone, save):
    with torch.device('meta'):
        shapes = {n: t.shape for n, t in ConvNeXt('nano').state_dict().items() if not n.startswith('stages.2.7.')}
    path = save({name: torch.zeros(()).expand(shape) for name, shape in shapes.items()})
    refused(backbone, path, truncated=['nano'])


@V1
@pytest.mark.parametrize('home', ['', 'visual.trunk.'], ids=['timm', 'OpenCLIP'])
def test_xxlarge_of_openclip_has_another_eps(backbone, save, home):
    with torch.device('meta'):
        peer = timm.create_model('convnext_xxlarge', num_classes=0)
    assert {m.eps for m in peer.modules() if isinstance(m, nn.LayerNorm)} == {1e-5}
    state = {f'{home}{n}': torch.zeros(()).expand(t.shape) for n, t in peer.state_dict().items()}
    error = refused(backbone, save(state), network='the xxlarge ConvNeXt of OpenCLIP')
    with pytest.raises(CheckpointError) as same:
        convert(state, 'official')
    assert same.value.facts['network'] == error.facts['network']


WIDER = dict(depths=(1, 2, 4, 1), widths=(4, 8, 12, 20))
OTHERS = {
    'version 1': (dict(version=2), dict(version=1), dict(version=2, layer_scale_init_value=None)),
    'version 2': (dict(version=1), dict(version=2), dict(version=1, layer_scale_init_value=1.0)),
    'no layer scale': (dict(layer_scale_init_value=0), dict(), dict(layer_scale_init_value=0)),
    'layer scale': (dict(), dict(layer_scale_init_value=0), dict(layer_scale_init_value=1.0)),
    'size by name': (dict(arch='atto'), dict(), dict(arch='atto')),
    'size and version': (
        dict(arch='atto', version=2),
        dict(),
        dict(arch='atto', version=2, layer_scale_init_value=None),
    ),
    'other widths': (dict(arch=WIDER), dict(), dict(arch=WIDER)),
}


@pytest.mark.parametrize(('theirs', 'ours', 'settings'), OTHERS.values(), ids=OTHERS)
def test_the_settings_that_fit_are_named(toy, save, theirs, ours, settings):
    donor = ConvNeXt(**(dict(arch=toy) | theirs))
    model = ConvNeXt(**(dict(arch=toy) | ours))
    model.before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path = save(donor.state_dict())
    refused(model, path, settings=settings)
    load_pretrained(ConvNeXt(**(dict(arch=toy) | ours | settings)), path)


@V1
class TestOptions:
    def test_channels_are_not_adapted_where_that_is_refused(self, toy, backbone, save):
        path = save(ConvNeXt(toy, in_channels=4).state_dict())
        refused(backbone, path, dict(adapt_stem='refuse'), in_channels=4, adapt_stem='refuse')

    def test_fewer_channels_by_zeros(self, toy, network, save):
        with pytest.raises(CheckpointError) as error:
            load_pretrained(ConvNeXt(toy, in_channels=1), save(network), adapt_stem='zero')
        assert error.value.facts['in_channels'] == 3

    def test_unknown_way_to_adapt_the_stem(self, backbone, network, save):
        refused(backbone, save(network), dict(adapt_stem='mean'), adapt_stem='mean')

    def test_no_such_key(self, backbone, network, save):
        error = refused(backbone, save({'model': network, 'epoch': 3}), dict(key='ema'), key='ema')
        assert 'model' in str(error)
        assert 'epoch' in str(error)

    def test_no_such_prefix(self, backbone, network, save):
        path = save({f'backbone.{n}': t for n, t in network.items()})
        refused(backbone, path, dict(prefix='teacher'), prefix='teacher.', prefixes=['backbone.'])

    def test_several_networks(self, backbone, network, save):
        both = {f'{who}.{n}': t for n, t in network.items() for who in ('student', 'teacher')}
        refused(backbone, save(both), prefixes=['student.', 'teacher.'])

    def test_no_final_norm(self, backbone, network, save):
        del network['norm.bias']
        refused(backbone, save(network), dict(final_norm=True), final_norm=True)

    def test_final_norm_without_last_stage(self, toy, network, save):
        with pytest.raises(CheckpointError) as error:
            load_pretrained(ConvNeXt(toy, out_indices=(0, 1)), save(network), final_norm=True)
        assert error.value.facts['final_norm']

    def test_both_versions_at_once(self, backbone, network, save):
        network['stages.0.0.grn.gamma'] = network['stages.0.0.grn.beta'] = torch.ones(16)
        path = save(network)
        refused(backbone, path, file=path, grn=True, layer_scale=True)
