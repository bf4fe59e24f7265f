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

from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import MANIFEST, CheckpointError, load_pretrained, locate
from mmconvnext.checkpoints.download import cache_folder, download


class Server(BaseHTTPRequestHandler):
    """Serves ``files``; stops after ``cut`` bytes of a body once, and sees to ranges if ``ranges``."""

    files: dict[str, bytes]
    cut: int | None
    ranges: bool
    delay: float  # seconds
    requests: list[tuple[str, str | None]]

    def do_GET(self):
        cls, asked = type(self), self.headers.get('Range')
        cls.requests.append((self.path, asked))
        body = cls.files.get(self.path.split('?')[0])
        if body is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix('bytes=').rstrip('-')) if asked and cls.ranges else 0
        if asked and start >= len(body):
            self.send_response(416)
            self.send_header('Content-Range', f'bytes */{len(body)}')
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(body) - start))
        self.end_headers()
        time.sleep(cls.delay)
        stop, cls.cut = cls.cut, None
        self.wfile.write(body[start:stop])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The server's class, with its address; the cache is an empty folder."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    handler = type('Handler', (Server,), dict(files={}, cut=None, ranges=True, delay=0, requests=[]))
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as http:
        handler.url = f'http://127.0.0.1:{http.server_port}'
        Thread(target=http.serve_forever, kwargs=dict(poll_interval=0.01), daemon=True).start()
        yield handler
        http.shutdown()


@pytest.fixture
def weights(toy, save):
    return open(save({'model': ConvNeXt(toy).state_dict()}), 'rb').read()


def names():
    """Files in the cache, lock files aside."""
    return sorted(p.name for p in cache_folder().glob('*') if not p.name.startswith('.'))


def test_downloads_once(server, weights, toy):
    server.files['/net.pth'] = weights
    for _ in range(2):
        load_pretrained(ConvNeXt(toy), f'{server.url}/net.pth?download=true')
    assert server.requests == [('/net.pth?download=true', None)]
    assert names() == ['net.pth']
    assert (cache_folder() / 'net.pth').read_bytes() == weights


def test_file_in_the_cache_needs_no_network(server, weights):
    cache_folder().mkdir(parents=True)
    (cache_folder() / 'net.pth').write_bytes(weights)
    assert locate('https://example.invalid/net.pth').read_bytes() == weights


@pytest.mark.parametrize('ranges', [True, False], ids=['server with ranges', 'server without'])
def test_goes_on_where_it_broke_off(server, weights, ranges):
    server.files['/net.pth'], server.cut, server.ranges = weights, 20000, ranges
    with pytest.raises(CheckpointError, match=rf'broke off at 20000 of {len(weights)} bytes.* goes on after 0.0 MB'):
        download(f'{server.url}/net.pth')
    assert names() == ['net.pth.part']
    path = download(f'{server.url}/net.pth')
    assert server.requests[1] == ('/net.pth', 'bytes=20000-')
    assert path.read_bytes() == weights
    assert names() == ['net.pth']


@pytest.mark.parametrize('left', [0, 5], ids=['all of it', 'more than all of it'])
def test_nothing_left_to_fetch(server, weights, left):
    server.files['/net.pth'] = weights
    cache_folder().mkdir(parents=True)
    (cache_folder() / 'net.pth.part').write_bytes(weights + bytes(left))
    assert download(f'{server.url}/net.pth').read_bytes() == weights


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
    assert paths == {cache_folder() / 'net.pth'}
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
    errors = pytest.importorskip('huggingface_hub.errors')
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
    errors = pytest.importorskip('huggingface_hub.errors')
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
