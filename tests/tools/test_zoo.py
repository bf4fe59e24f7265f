"""The pages of the model zoo say what the configs are, and a stale one is found."""

import importlib.util
import sys

import pytest
import yaml

from tests.conftest import ROOT
from zoo import page

PUBLISHED, OURS = 'upernet_convnext_t_160k', 'upernet_convnext_b_dinov3_160k'
DEPTHS, WIDTHS = (1, 1, 2, 1), [8, 16, 24, 32]


def write_config(root, name, checkpoint, drop_path):
    """A toy UperNet under the name of a real one."""
    path = root / f'configs/segmentation/{name}.py'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"""
_base_ = {str(ROOT / 'configs/segmentation/upernet_convnext_t_160k.py')!r}
model = dict(
    backbone=dict(
        arch=dict(depths={DEPTHS}, widths={tuple(WIDTHS)}, _delete_=True),
        drop_path_rate={drop_path},
        init_cfg=dict(checkpoint={checkpoint!r}),
    ),
    decode_head=dict(in_channels={WIDTHS}, channels=8),
    auxiliary_head=dict(in_channels={WIDTHS[2]}, channels=8),
)
""")


@pytest.fixture
def toy_root(tmp_path):
    """A checkout of two toy configs, one of them under a published name."""
    write_config(tmp_path, PUBLISHED, 'convnext_tiny.in1k', 0.35)
    write_config(tmp_path, OURS, 'convnext_base.dinov3_lvd1689m', 0.15)
    (tmp_path / 'docs').mkdir()
    return tmp_path


@pytest.fixture
def verify_zoo(toy_root, monkeypatch):
    """tools/verify_zoo.py in the toy checkout, as a function of its arguments that returns its exit status."""
    spec = importlib.util.spec_from_file_location('verify_zoo', ROOT / 'tools/verify_zoo.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, 'ROOT', toy_root)

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['verify_zoo.py', *arguments])
        try:
            module.main()
        except SystemExit as stop:
            return stop.code
        return 0

    return run


def rows(page):
    """Cells of the page's rows by config, under the heads of their columns."""
    heads, found = [], {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if cells[0] == 'config':
            heads = cells
        elif cells[0].startswith('['):
            assert len(cells) == len(heads)
            found[cells[0][1:].split(']')[0]] = dict(zip(heads, cells))
    return found


def test_page_shows_drop_path_and_figures_of_the_published_recipe_alone(toy_root):
    found = rows(page.page(list(page.entries(toy_root / 'configs'))))
    assert set(found) == {PUBLISHED, OURS}
    assert (found[PUBLISHED]['drop path'], found[OURS]['drop path']) == ('0.35', '0.15')
    assert (found[PUBLISHED]['mIoU'], found[PUBLISHED]['multi-scale']) == ('46.0', '46.7')
    assert (found[OURS]['mIoU'], found[OURS]['multi-scale']) == ('-', '-')
    # 3 + ceil(2 / 3) layers at 0.9: the stem's rate is 0.9 ** 5 of 1e-4
    assert (found[OURS]['layers'], found[OURS]['lowest lr']) == ('4', '5.9e-05')


def test_metafile_has_weights_for_the_published_recipe_alone(toy_root):
    models = {m['Name']: m for m in yaml.safe_load(page.metafile(list(page.entries(toy_root / 'configs'))))['Models']}
    assert models[PUBLISHED]['Weights'] == (
        'https://dl.fbaipublicfiles.com/convnext/ade20k/upernet_convnext_tiny_1k_512x512.pth'
    )
    assert 'Weights' not in models[OURS]
    assert 'Results' not in models[OURS]
    assert models[OURS]['Config'] == f'configs/segmentation/{OURS}.py'


def test_check_fails_on_a_stale_page_and_leaves_it(toy_root, verify_zoo, capsys):
    page, metafile = toy_root / 'docs/model_zoo.md', toy_root / 'configs/metafile.yml'
    assert verify_zoo('--check') == 1  # there are none yet
    assert not page.exists()
    assert verify_zoo() == 0
    assert verify_zoo('--check') == 0
    written = page.read_text(), metafile.read_text()
    capsys.readouterr()

    write_config(toy_root, OURS, 'convnext_base.dinov3_lvd1689m', 0.25)  # shown on the page alone
    assert verify_zoo('--check') == 1
    output = capsys.readouterr().out
    assert 'docs/model_zoo.md is not what the configs say' in output
    assert 'metafile' not in output
    assert (page.read_text(), metafile.read_text()) == written

    assert verify_zoo() == 0
    assert rows(page.read_text())[OURS]['drop path'] == '0.25'
    assert metafile.read_text() == written[1]
    metafile.write_text(written[1].replace('MIT', 'unknown'))
    assert verify_zoo('--check') == 1
    assert 'configs/metafile.yml is not what the configs say' in capsys.readouterr().out
