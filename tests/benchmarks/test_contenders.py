import argparse
import json
from pathlib import Path

import pytest
import torch

from benchmarks import backbone, timing
from benchmarks.backbone import REPEATS, check_equal, gemm_limit, saved_activations, with_random_weights
from benchmarks.peers import PEERS, Peer
from mmconvnext import ConvNeXt
from tests.conftest import TOY
from tests.peers import installed

CASES = [pytest.param(peer, v, id=f'{peer.name} V{v}') for peer in PEERS for v in peer.versions]


@pytest.mark.parametrize(('peer', 'version'), CASES)
def test_a_peer_computes_what_ours_does(peer: Peer, version: int) -> None:
    if peer.name == 'MMPretrain':
        installed('mmpretrain')
    ours = ConvNeXt(TOY, version=version, layer_scale_init_value=1.0 if version == 1 else None)
    with_random_weights(ours)
    x = torch.randn(2, 3, 64, 96)
    found = peer.build(ours)(x)
    for a, b in zip(found, ours(x), strict=True):
        assert (a - b).norm() < 1e-5 * b.norm()


def test_a_contender_that_computes_something_else_is_refused() -> None:
    models = {name: ConvNeXt(TOY) for name in ('mmconvnext, reference path', 'other')}
    with pytest.raises(ValueError, match='other differs from the reference by'):
        check_equal(models, torch.randn(1, 3, 64, 96), 1e-4)


def test_what_is_not_installed_is_left_out_and_said_compiled_or_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def build(ours: ConvNeXt) -> torch.nn.Module:
        raise ImportError("No module named 'timm'")

    monkeypatch.setattr(backbone, 'PEERS', [Peer('timm', build)])
    args = argparse.Namespace(arch=TOY, version=1, dtype='fp32', compile=True)
    models = backbone.contenders(args, 'training')
    assert list(models) == ['mmconvnext', 'mmconvnext, reference path', 'mmconvnext, torch.compile']
    assert "left out: timm (No module named 'timm')" in capsys.readouterr().out


def test_figures_go_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / 'link.json').symlink_to('figures.json')
    result = dict(model='tiny', mode='inference', dtype='fp32', input=[1, 3, 64, 96])
    timing.append(tmp_path / 'link.json', [result])
    timing.append(tmp_path / 'link.json', [result, {**result, 'mode': 'training'}])
    assert (tmp_path / 'link.json').is_symlink()
    assert json.loads((tmp_path / 'figures.json').read_text()) == [result, {**result, 'mode': 'training'}]


def test_saved_activations_are_those_of_the_formula() -> None:
    layer = torch.nn.Linear(4, 8)
    x = torch.randn(5, 4, requires_grad=True)
    model = torch.nn.Sequential(layer, torch.nn.ReLU())
    assert saved_activations(model, x) == x.nbytes + 4 * 5 * 8  # the layer's input, and ReLU's output


def test_the_limit_is_all_products_at_the_best_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, 'interleaved', lambda ways, rounds: {name: timing.Time(1.0, 0.0) for name in ways})
    ours = ConvNeXt(dict(depths=(1, 2, 1, 1), widths=(8, 16, 24, 32)))
    # 8 x 16, 4 x 8, 2 x 4 and 1 x 2 pixels; two products of 2 * C * 4C operations for each pixel and block
    operations = 16 * (128 * 8**2 + 2 * 32 * 16**2 + 8 * 24**2 + 2 * 32**2)
    best = REPEATS * max(8 * pixels * width**2 for pixels, width in ((128, 8), (32, 16), (8, 24), (2, 32)))
    assert gemm_limit(ours, torch.zeros(1, 3, 32, 64)) == pytest.approx(operations / best)
