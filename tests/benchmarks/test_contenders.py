import pytest
import torch

from benchmarks.backbone import check_equal, gemm_limit, saved_activations, with_random_weights
from benchmarks.peers import PEERS, Peer
from mmconvnext import ConvNeXt
from tests.conftest import TOY


@pytest.mark.parametrize('version', [1, 2])
@pytest.mark.parametrize('peer', PEERS, ids=lambda peer: peer.name)
def test_a_peer_computes_what_ours_does(peer: Peer, version: int) -> None:
    if version not in peer.versions:
        pytest.skip(f'{peer.name} has no ConvNeXt V{version}')
    if peer.name == 'MMPretrain':
        pytest.importorskip('mmpretrain')
    ours = ConvNeXt(TOY, version=version, layer_scale_init_value=1.0 if version == 1 else None)
    with_random_weights(ours)
    x = torch.randn(2, 3, 64, 96)
    found = peer.build(ours)(x)
    for a, b in zip(found, ours(x), strict=True):
        assert (a - b).norm() < 1e-5 * b.norm()


def test_a_contender_that_computes_something_else_is_refused() -> None:
    models = {name: ConvNeXt(TOY) for name in ('mmconvnext, reference path', 'other')}
    with pytest.raises(ValueError, match='other differs from the reference by'):
        check_equal(models, torch.randn(1, 3, 64, 96))


def test_saved_activations_are_those_of_the_formula() -> None:
    # Stem: input, its output twice (LayerNorm's input and statistics), and so on: known for one linear layer alone
    layer = torch.nn.Linear(4, 8)
    x = torch.randn(5, 4, requires_grad=True)
    model = torch.nn.Sequential(layer, torch.nn.ReLU())
    assert saved_activations(model, x) == x.nbytes + 4 * 5 * 8  # the layer's input, and ReLU's output


def test_the_limit_grows_with_the_pixels() -> None:
    ours = ConvNeXt('atto')
    small, large = (gemm_limit(ours, torch.zeros(1, 3, 64, width)) for width in (64, 1024))
    assert large > 4 * small > 0
