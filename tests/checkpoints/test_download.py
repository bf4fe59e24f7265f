"""Downloads from a server on this machine that can be told to fail."""

import hashlib
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Thread

import pytest
import torch
from safetensors.torch import save as serialize

from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import MANIFEST, CheckpointError, load_pretrained, locate
from mmconvnext.checkpoints.download import cache_folder, download
from tests.conftest import TOY


class Server(BaseHTTPRequestHandler):
    """Serves ``files``, and keeps ``requests``: pairs of a path and a ``Range`` header."""

    files: dict[str, bytes]
    requests: list[tuple[str, str | None]]
    cut: int | None = None  # sends only so many bytes of the next body
    ranges = True  # obeys Range
    if_range = True  # obeys If-Range
    lengths = True  # sends Content-Length
    tags = True  # sends ETag
    shift = 0  # starts ranges so many bytes late
    excess = 0  # by how many bytes Content-Length is too large

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
            self.send_header('Content-Length', str(len(body) - start + cls.excess))
        self.end_headers()
        stop, cls.cut = cls.cut, None
        self.wfile.write(body[start:stop])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The server's class, with its address; the cache is an empty folder."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    handler = type('Handler', (Server,), {'files': {}, 'requests': []})
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as http:
        handler.url = f'http://127.0.0.1:{http.server_port}'
        Thread(target=http.serve_forever, kwargs=dict(poll_interval=0.01), daemon=True).start()
        yield handler
        http.shutdown()


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """The bytes of a file that torch.save wrote."""
    path = tmp_path_factory.mktemp('weights') / 'net.pth'
    torch.save({'model': ConvNeXt(TOY).state_dict()}, path)
    return path.read_bytes()


def cached():
    """Names of the complete files in the cache."""
    return sorted(p.name for p in cache_folder().glob('*') if not p.name.startswith('.') and p.suffix != '.part')


def failed(url):
    """The error with which a download fails."""
    with pytest.raises(CheckpointError) as error:
        download(url)
    assert error.value.facts['url'] == url
    assert cached() == []
    return error.value


def test_downloads_once(server, weights, toy):
    server.files['/net.pth'] = weights
    url = f'{server.url}/net.pth?download=true'
    for _ in range(2):
        load_pretrained(ConvNeXt(toy), url)
    assert server.requests == [('/net.pth?download=true', None)]
    assert cached() == [f'net.{hashlib.sha256(url.encode()).hexdigest()[:8]}.pth']
    assert download(url).read_bytes() == weights


def test_file_in_the_cache_needs_no_network(server, weights):
    cache_folder().mkdir(parents=True)
    url = 'https://example.invalid/net-1a2b3c4d.pth'
    (cache_folder() / 'net-1a2b3c4d.pth').write_bytes(weights)
    assert locate(url).read_bytes() == weights
    published = MANIFEST['convnext_tiny.in1k']
    (cache_folder() / published.file).write_bytes(weights)
    assert locate(published.name) == locate(published.url) == cache_folder() / published.file


def test_two_urls_that_end_alike_are_two_files(server, toy):
    states = {folder: {n: torch.randn_like(t) for n, t in ConvNeXt(toy).state_dict().items()} for folder in 'ab'}
    for folder, state in states.items():
        server.files[f'/{folder}/model.safetensors'] = serialize({n: t.contiguous() for n, t in state.items()})
    for folder, state in states.items():
        model = ConvNeXt(toy)
        load_pretrained(model, f'{server.url}/{folder}/model.safetensors')
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize('ranges', [True, False], ids=['server with ranges', 'server without'])
def test_continues_an_interrupted_download(server, weights, ranges):
    server.files['/net.pth'], server.cut, server.ranges = weights, 20000, ranges
    assert failed(f'{server.url}/net.pth').facts['kept'] == 20000
    assert download(f'{server.url}/net.pth').read_bytes() == weights
    assert server.requests == [('/net.pth', None), ('/net.pth', 'bytes=20000-')]


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
    failed(f'{server.url}/net.pth')
    server.files['/net.pth'] = weights
    assert download(f'{server.url}/net.pth').read_bytes() == weights


def test_a_range_that_begins_elsewhere_is_not_taken(server, weights):
    server.files['/net.pth'], server.cut, server.shift = weights, 20000, 5
    failed(f'{server.url}/net.pth')
    assert download(f'{server.url}/net.pth').read_bytes() == weights
    assert [asked for _, asked in server.requests] == [None, 'bytes=20000-', None]


def test_nothing_left_to_fetch(server, weights):
    """A range that begins at the end of the file cannot be satisfied."""
    server.files['/net.pth'], server.excess = weights, 5
    assert failed(f'{server.url}/net.pth').facts['kept'] == len(weights)
    server.excess = 0
    assert download(f'{server.url}/net.pth').read_bytes() == weights
    assert server.requests[1] == ('/net.pth', f'bytes={len(weights)}-')


@pytest.mark.parametrize('kind', ['safetensors', 'file of PyTorch before 1.6'])
def test_a_cut_download_never_gets_the_name(server, toy, tmp_path, kind):
    """A server of HTTP/1.0 that says no length cannot be told from one that has sent all."""
    state = {name: tensor.contiguous() for name, tensor in ConvNeXt(toy).state_dict().items()}
    torch.save(state, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    body = serialize(state) if kind == 'safetensors' else (tmp_path / 'old.pth').read_bytes()
    server.files['/net.pth'], server.lengths, server.cut = body, False, len(body) // 2
    assert failed(f'{server.url}/net.pth').facts['damaged']
    assert download(f'{server.url}/net.pth').read_bytes() == body


def test_a_legacy_file_with_python_objects_is_downloaded(server, toy, tmp_path):
    torch.save({'model': ConvNeXt(toy)}, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    server.files['/net.pth'] = (tmp_path / 'old.pth').read_bytes()
    load_pretrained(ConvNeXt(toy), f'{server.url}/net.pth', allow_pickle=True)


def test_a_damaged_file_in_the_cache_can_be_fetched_again(server, weights, toy):
    server.files['/net.pth'] = weights
    path = download(f'{server.url}/net.pth')
    path.write_bytes(weights[:-10])
    with pytest.raises(CheckpointError) as error:
        load_pretrained(ConvNeXt(toy), f'{server.url}/net.pth')
    assert error.value.facts['damaged']
    assert error.value.facts['file'] == path
    path.rename(path.with_suffix('.damaged'))
    load_pretrained(ConvNeXt(toy), f'{server.url}/net.pth')


@pytest.mark.parametrize('end', ['..%2f..%2fevil.pth', '%2e%2e%2f%2e%2e%2fevil.pth', 'a%2f..%2f..%2f..%2fevil.pth'])
def test_no_url_leads_out_of_the_cache(server, weights, end, tmp_path):
    server.files[f'/{end}'] = weights
    path = download(f'{server.url}/{end}')
    assert path.parent == cache_folder()
    assert [p for p in tmp_path.rglob('*evil*') if p.suffix == '.pth'] == [path]


@pytest.mark.parametrize('end', ['', '..', '%2e%2e', 'a%2f..', '..%5cevil.pth', 'a%00.pth', 'folder/', '\udcff.pth'])
def test_urls_without_a_files_name(server, end):
    failed(f'{server.url}/{end}')
    assert not server.requests


def test_a_name_too_long_for_a_file(server):
    assert 'too long' in str(failed(f'{server.url}/{"n" * 300}.pth'))


def test_letters_that_no_url_may_have_are_quoted(server, weights):
    server.files['/%C3%BC%20b.pth'] = weights
    assert download(f'{server.url}/ü b.pth').read_bytes() == weights
    assert download(f'{server.url}/%C3%BC%20b.pth').read_bytes() == weights


def test_a_wrong_hash_never_gets_the_name(server, weights):
    right = hashlib.sha256(weights).hexdigest()
    server.files |= {f'/net-{right[:8]}.pth': weights, '/net-00000000.pth': weights}
    facts = failed(f'{server.url}/net-00000000.pth').facts
    assert (facts['expected'], facts['digest']) == ('00000000', right)
    assert download(f'{server.url}/net-{right[:8]}.pth').name == f'net-{right[:8]}.pth'


@pytest.mark.parametrize('body', [b'<html>Log in</html>', b'', b'{"error": 1}'])
def test_other_content_never_gets_the_name(server, body):
    server.files['/net.pth'] = body
    failed(f'{server.url}/net.pth')
    assert not list(cache_folder().glob('*.part'))


def test_errors_of_server_and_network_name_the_alternatives(server, toy):
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))  # nothing listens there
        refused = f'http://127.0.0.1:{unused.getsockname()[1]}/net.pth'
        for url, reason in ((f'{server.url}/none.pth', '404'), (refused, 'refused'), (f'{server.url}/', server.url)):
            with pytest.raises(CheckpointError, match=reason) as error:
                load_pretrained(ConvNeXt(toy), url)
            assert error.value.facts['url'] == url
            assert '--pretrained none' in str(error.value)
    assert cached() == []


def test_of_several_at_once_one_downloads_and_the_others_wait(server, weights):
    server.files['/net.pth'] = weights
    together = Barrier(4)

    def start(url):
        together.wait()
        return download(url)

    with ThreadPoolExecutor(4) as pool:
        (path,) = set(pool.map(start, [f'{server.url}/net.pth'] * 4))
    assert path.read_bytes() == weights
    assert len(server.requests) == 1


def test_short_names_are_downloaded_from_their_url(server, weights, monkeypatch, toy):
    server.files['/toy.pth'] = weights
    entry = MANIFEST['convnext_tiny.in1k']
    monkeypatch.setitem(MANIFEST, 'toy', type(entry)(**{**vars(entry), 'url': f'{server.url}/toy.pth'}))
    load_pretrained(ConvNeXt(toy), 'toy')
    assert cached() == ['toy.pth']


def test_weights_on_request_say_how_to_get_them(server, weights):
    with pytest.raises(CheckpointError, match='hf-hub:facebook/dinov3-convnext-tiny') as error:
        locate('convnext_tiny.dinov3_lvd1689m')
    cache_folder().mkdir(parents=True)
    file = cache_folder() / error.value.facts['file']
    file.write_bytes(weights)
    assert locate('convnext_tiny.dinov3_lvd1689m') == file


def test_misspelt_names_get_a_suggestion(server):
    with pytest.raises(CheckpointError) as error:
        locate('convnext_tiny.im1k')
    assert error.value.facts['similar'][0] == 'convnext_tiny.in1k'


@contextmanager
def hub(monkeypatch, files, missing):
    """A Hugging Face hub that has these files, and raises the error of this name for others; yields the requests."""
    errors = pytest.importorskip('huggingface_hub.errors', reason='the hub extra is not installed')
    asked = []

    def hf_hub_download(repository, file, revision=None):
        asked.append((repository, file, revision))
        if repository.startswith('facebook/'):
            raise OSError('Access to this model is restricted.')
        if file not in files:
            raise getattr(errors, missing)(file)
        return str(files[file])

    monkeypatch.setattr('huggingface_hub.hf_hub_download', hf_hub_download)
    yield asked


def test_hub(monkeypatch, toy, save):
    path = save(ConvNeXt(toy).state_dict(), 'pytorch_model.bin')
    with hub(monkeypatch, {'pytorch_model.bin': path}, 'EntryNotFoundError') as asked:
        load_pretrained(ConvNeXt(toy), 'hf-hub:org/name@v2')
        assert asked[0] == ('org/name', 'model.safetensors', 'v2')
        assert asked[-1] == ('org/name', 'pytorch_model.bin', 'v2')
        with pytest.raises(CheckpointError, match='restricted') as error:
            locate('hf-hub:facebook/x')
        assert error.value.facts['repository'] == 'facebook/x'


@pytest.mark.parametrize(
    ('missing', 'offline'),
    [('EntryNotFoundError', False), ('LocalEntryNotFoundError', True)],
    ids=['online', 'offline'],
)
def test_hub_without_weights(monkeypatch, missing, offline):
    with hub(monkeypatch, {}, missing), pytest.raises(CheckpointError) as error:
        locate('hf-hub:org/name')
    assert error.value.facts == dict(repository='org/name', offline=offline)


def test_hub_without_network(monkeypatch, toy, save):
    """A file of any of the names may be in the cache."""
    path = save(ConvNeXt(toy).state_dict(), 'pytorch_model.bin')
    with hub(monkeypatch, {'pytorch_model.bin': path}, 'LocalEntryNotFoundError'):
        load_pretrained(ConvNeXt(toy), 'hf-hub:org/cached')


def test_hub_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(CheckpointError) as error:
        locate('hf-hub:org/name')
    assert error.value.facts['package'] == 'huggingface_hub'
