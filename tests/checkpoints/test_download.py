"""Downloads from a server on this machine that can be told to fail."""

import hashlib
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch
from safetensors.torch import save as serialize

from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import MANIFEST, CheckpointError, load_pretrained, locate
from mmconvnext.checkpoints.download import cache_folder, download


class Server(BaseHTTPRequestHandler):
    """Serves ``files``; stops after ``cut`` bytes of a body once.

    Sees to ranges if ``ranges``, to ``If-Range`` if ``if_range``, and says how long a body is if ``lengths``.
    """

    files: dict[str, bytes]
    cut: int | None
    ranges: bool
    if_range: bool
    lengths: bool
    shift: int  # by how many bytes a range begins too late
    tags: bool
    delay: float  # seconds
    requests: list[tuple[str, str | None]]

    def do_GET(self):
        cls, asked = type(self), self.headers.get('Range')
        cls.requests.append((self.path, asked))
        body = cls.files.get(self.path.split('?')[0])
        if body is None:
            self.send_error(404)
            return
        tag = f'"{hashlib.sha256(body).hexdigest()}"'
        if cls.if_range and self.headers.get('If-Range', tag) != tag:
            asked = None
        start = int(asked.removeprefix('bytes=').rstrip('-')) if asked and cls.ranges else 0
        if asked and start >= len(body):
            self.send_response(416)
            self.send_header('Content-Range', f'bytes */{len(body)}')
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        start += cls.shift if start else 0
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(body) - 1}/{len(body)}')
        if cls.tags:
            self.send_header('ETag', tag)
        if cls.lengths:
            self.send_header('Content-Length', str(len(body) - start))
        self.end_headers()
        time.sleep(cls.delay)
        stop, cls.cut = cls.cut, None
        self.wfile.write(body[start:stop])

    def log_message(self, *args):
        pass


SERVER = dict(cut=None, ranges=True, if_range=True, lengths=True, shift=0, tags=True, delay=0)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The server's class, with its address; the cache is an empty folder."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    handler = type('Handler', (Server,), {**SERVER, 'files': {}, 'requests': []})
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as http:
        handler.url = f'http://127.0.0.1:{http.server_port}'
        Thread(target=http.serve_forever, kwargs=dict(poll_interval=0.01), daemon=True).start()
        yield handler
        http.shutdown()


@pytest.fixture
def weights(toy, save):
    return open(save({'model': ConvNeXt(toy).state_dict()}), 'rb').read()


def safetensors(state):
    return serialize({name: tensor.contiguous() for name, tensor in state.items()})


def named(url):
    """What ``url``, which ends in net.pth, is called in the cache."""
    return f'net.{hashlib.sha256(url.encode()).hexdigest()[:8]}.pth'


def names():
    """Files in the cache, lock files and the like aside."""
    return sorted(p.name for p in cache_folder().glob('*') if not p.name.startswith('.'))


def test_downloads_once(server, weights, toy):
    server.files['/net.pth'] = weights
    for _ in range(2):
        load_pretrained(ConvNeXt(toy), f'{server.url}/net.pth?download=true')
    assert server.requests == [('/net.pth?download=true', None)]
    (name,) = names()
    assert name == named(f'{server.url}/net.pth?download=true')
    assert (cache_folder() / name).read_bytes() == weights


def test_file_in_the_cache_needs_no_network(server, weights):
    cache_folder().mkdir(parents=True)
    url = 'https://example.invalid/net-1a2b3c4d.pth'
    (cache_folder() / 'net-1a2b3c4d.pth').write_bytes(weights)
    assert locate(url).read_bytes() == weights
    published = MANIFEST['convnext_tiny.in1k']
    (cache_folder() / published.file).write_bytes(weights)
    assert locate(published.name) == locate(published.url) == cache_folder() / published.file


@pytest.mark.parametrize('folders', [('a', 'b'), ('b', 'a')])
def test_two_addresses_that_end_alike_are_two_files(server, toy, folders):
    states = {folder: {n: torch.randn_like(t) for n, t in ConvNeXt(toy).state_dict().items()} for folder in 'ab'}
    server.files = {f'/{folder}/model.safetensors': safetensors(state) for folder, state in states.items()}
    for folder in folders:
        model = ConvNeXt(toy)
        load_pretrained(model, f'{server.url}/{folder}/model.safetensors')
        assert all(torch.equal(tensor, states[folder][name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize('ranges', [True, False], ids=['server with ranges', 'server without'])
def test_goes_on_where_it_broke_off(server, weights, ranges):
    server.files['/net.pth'], server.cut, server.ranges = weights, 20000, ranges
    url = f'{server.url}/net.pth'
    with pytest.raises(CheckpointError, match=rf'broke off at 20000 of {len(weights)} bytes.* goes on after 0.0 MB'):
        download(url)
    assert names() == [f'{named(url)}.part']
    path = download(url)
    assert server.requests[1] == ('/net.pth', 'bytes=20000-')
    assert path.read_bytes() == weights
    assert names() == [named(url)]


@pytest.mark.parametrize(
    'faults',
    [dict(), dict(if_range=False), dict(if_range=False, tags=False)],
    ids=['server with If-Range', 'server without', 'server without ETag'],
)
def test_two_files_are_never_spliced(server, weights, faults):
    """The server's file changes between two tries."""
    for name, value in faults.items():
        setattr(server, name, value)
    server.files['/net.pth'], server.cut = bytes(len(weights)), 20000
    with pytest.raises(CheckpointError, match='broke off'):
        download(f'{server.url}/net.pth')
    server.files['/net.pth'] = weights
    assert download(f'{server.url}/net.pth').read_bytes() == weights


def test_a_range_that_begins_elsewhere_is_not_taken(server, weights):
    server.files['/net.pth'], server.cut, server.shift = weights, 20000, 5
    with pytest.raises(CheckpointError, match='broke off'):
        download(f'{server.url}/net.pth')
    assert download(f'{server.url}/net.pth').read_bytes() == weights
    assert [asked for _, asked in server.requests] == [None, 'bytes=20000-', None]


@pytest.mark.parametrize('left', [0, 5], ids=['all of it', 'more than all of it'])
def test_nothing_left_to_fetch(server, weights, left):
    server.files['/net.pth'] = weights
    name = named(f'{server.url}/net.pth')
    cache_folder().mkdir(parents=True)
    (cache_folder() / f'{name}.part').write_bytes(weights + bytes(left))
    (cache_folder() / f'.{name}.state').write_text(f'"{hashlib.sha256(weights).hexdigest()}"')
    assert download(f'{server.url}/net.pth').read_bytes() == weights
    assert server.requests[0][1] == f'bytes={len(weights) + left}-'
    assert len(server.requests) == 1 + bool(left)


@pytest.mark.parametrize('kind', ['safetensors', 'file of PyTorch before 1.6'])
def test_a_cut_download_never_gets_the_name(server, toy, tmp_path, kind):
    """A server of HTTP/1.0 that says no length cannot be told from one that has sent all."""
    state = ConvNeXt(toy).state_dict()
    torch.save(state, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    body = safetensors(state) if kind == 'safetensors' else (tmp_path / 'old.pth').read_bytes()
    server.files['/net.pth'], server.lengths, server.cut = body, False, len(body) // 2
    url = f'{server.url}/net.pth'
    with pytest.raises(CheckpointError, match=url) as error:
        download(url)
    assert error.value.facts['damaged']
    assert names() == []
    load_pretrained(ConvNeXt(toy), url)
    assert (cache_folder() / named(url)).read_bytes() == body


def test_a_legacy_file_with_python_objects_is_downloaded(server, toy, tmp_path):
    torch.save({'model': ConvNeXt(toy)}, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    server.files['/net.pth'] = (tmp_path / 'old.pth').read_bytes()
    load_pretrained(ConvNeXt(toy), f'{server.url}/net.pth', allow_pickle=True)


def test_a_damaged_file_in_the_cache_can_be_fetched_again(server, weights, toy):
    server.files['/net.pth'] = weights
    path = download(f'{server.url}/net.pth')
    path.write_bytes(weights[:-10])
    with pytest.raises(CheckpointError, match=rf'{path}.*download') as error:
        load_pretrained(ConvNeXt(toy), f'{server.url}/net.pth')
    assert error.value.facts['damaged']
    path.rename(path.with_suffix('.damaged'))
    load_pretrained(ConvNeXt(toy), f'{server.url}/net.pth')


@pytest.mark.parametrize('end', ['..%2f..%2fevil.pth', '%2e%2e%2f%2e%2e%2fevil.pth', 'a%2f..%2f..%2f..%2fevil.pth'])
def test_no_address_leads_out_of_the_cache(server, weights, end, tmp_path):
    server.files[f'/{end}'] = weights
    path = download(f'{server.url}/{end}')
    assert path.parent == cache_folder()
    assert [p for p in tmp_path.rglob('*evil*') if p.suffix == '.pth'] == [path]


@pytest.mark.parametrize('end', ['', '.', '..', '%2e%2e', 'a%2f..', '..%5cevil.pth', 'a%00.pth', 'folder/'])
def test_addresses_without_a_files_name(server, end, tmp_path):
    with pytest.raises(CheckpointError, match='names no file'):
        download(f'{server.url}/{end}')
    assert not list(tmp_path.glob('cache/**/*.*'))
    assert not server.requests


def test_letters_that_no_address_may_have_are_quoted(server, weights):
    server.files['/%C3%BC%20b.pth'] = weights
    assert download(f'{server.url}/ü b.pth').read_bytes() == weights
    assert download(f'{server.url}/%C3%BC%20b.pth').read_bytes() == weights


@pytest.mark.parametrize('end', [f'{"n" * 300}.pth', '\udcff.pth'], ids=['long', 'no text'])
def test_names_that_no_file_can_have(server, end):
    with pytest.raises(CheckpointError, match=r'File name too long|is no address'):
        download(f'{server.url}/{end}')


def test_a_wrong_hash_never_gets_the_name(server, weights):
    right = hashlib.sha256(weights).hexdigest()
    server.files |= {f'/net-{right[:8]}.pth': weights, '/net-00000000.pth': weights}
    download(f'{server.url}/net-{right[:8]}.pth')
    with pytest.raises(CheckpointError, match=rf'SHA-256 is {right[:8]}..., not 00000000'):
        download(f'{server.url}/net-00000000.pth')
    assert names() == [f'net-{right[:8]}.pth']


@pytest.mark.parametrize('body', [b'<html>Log in</html>', b'', b'{"error": 1}'])
def test_no_checkpoint_never_gets_the_name(server, body):
    server.files['/net.pth'] = body
    with pytest.raises(CheckpointError, match=rf'{server.url}/net.pth: .*(web page|empty|neither)'):
        download(f'{server.url}/net.pth')
    assert names() == []


def test_errors_of_server_and_network_say_both_ways_on(server, toy):
    for url, words in (
        (f'{server.url}/none.pth', 'HTTP Error 404'),
        ('http://127.0.0.1:9/net.pth', 'refused'),
        (f'{server.url}/', 'names no file'),
    ):
        with pytest.raises(CheckpointError, match=rf'{re.escape(url)}.*{words}.*--pretrained PATH.*--pretrained none'):
            load_pretrained(ConvNeXt(toy), url)
    assert names() == []


def test_of_several_at_once_one_downloads_and_the_others_wait(server, weights):
    server.files['/net.pth'], server.delay = weights, 0.2
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(download, [f'{server.url}/net.pth'] * 4))
    assert paths == {cache_folder() / named(f'{server.url}/net.pth')}
    assert len(server.requests) == 1


def test_short_names_are_downloaded_from_their_address(server, weights, monkeypatch, toy):
    server.files['/toy.pth'] = weights
    entry = MANIFEST['convnext_tiny.in1k']
    monkeypatch.setitem(MANIFEST, 'toy', type(entry)(**{**vars(entry), 'url': f'{server.url}/toy.pth'}))
    load_pretrained(ConvNeXt(toy), 'toy')
    assert names() == ['toy.pth']


def test_weights_on_request_say_how_to_get_them(server, weights):
    with pytest.raises(CheckpointError, match=r'accept the licence on https.*hf-hub:facebook/dinov3-convnext-tiny'):
        locate('convnext_tiny.dinov3_lvd1689m')
    cache_folder().mkdir(parents=True)
    file = cache_folder() / MANIFEST['convnext_tiny.dinov3_lvd1689m'].file
    file.write_bytes(weights)
    assert locate('convnext_tiny.dinov3_lvd1689m') == file


def test_misspelt_names_get_a_suggestion(server):
    with pytest.raises(CheckpointError, match=r'Did you mean convnext_tiny.in1k'):
        locate('convnext_tiny.im1k')


@contextmanager
def hub(monkeypatch, files):
    """A Hugging Face hub that has these files."""
    errors = pytest.importorskip('huggingface_hub.errors', reason='the hub extra is not installed')
    asked = []

    def hf_hub_download(repository, file, revision=None):
        asked.append((repository, file, revision))
        if repository.startswith('facebook/'):
            raise OSError('Access to this model is restricted.')
        if file not in files:
            raise errors.EntryNotFoundError(f'404: {file}')
        return str(files[file])

    monkeypatch.setattr('huggingface_hub.hf_hub_download', hf_hub_download)
    yield asked


def test_hub(monkeypatch, toy, save):
    path = save(ConvNeXt(toy).state_dict(), 'pytorch_model.bin')
    with hub(monkeypatch, {'pytorch_model.bin': path}) as asked:
        load_pretrained(ConvNeXt(toy), 'hf-hub:org/name@v2')
        assert asked[0] == ('org/name', 'model.safetensors', 'v2')
        assert asked[-1] == ('org/name', 'pytorch_model.bin', 'v2')
        with pytest.raises(CheckpointError, match=r'could not get hf-hub:facebook/x \(Access .* restricted'):
            locate('hf-hub:facebook/x')
    with hub(monkeypatch, {}), pytest.raises(CheckpointError, match=r'hf-hub:org/name has none of model.safetensors'):
        locate('hf-hub:org/name')


def test_hub_without_network(monkeypatch, toy, save):
    """A file of any of the names may be in the cache; none is the fault of the repository."""
    errors = pytest.importorskip('huggingface_hub.errors', reason='the hub extra is not installed')
    path = save(ConvNeXt(toy).state_dict(), 'pytorch_model.bin')

    def hf_hub_download(repository, file, revision=None):
        if repository == 'org/cached' and file == 'pytorch_model.bin':
            return path
        raise errors.LocalEntryNotFoundError('Please check your connection.')

    monkeypatch.setattr('huggingface_hub.hf_hub_download', hf_hub_download)
    load_pretrained(ConvNeXt(toy), 'hf-hub:org/cached')
    with pytest.raises(
        CheckpointError, match=r'is not in the cache, and the hub cannot be reached \(Please check your'
    ):
        locate('hf-hub:org/name')


def test_hub_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(CheckpointError, match=r"pip install 'mmconvnext\[hub\]'"):
        locate('hf-hub:org/name')
