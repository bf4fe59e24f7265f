import pytest
import torch
from torch.nn import functional as F

from mmconvnext.kernels.cpu.linear import can_pack, prepare_linear


@pytest.mark.parametrize('gelu', [False, True])
@pytest.mark.parametrize('bias', [False, True])
def test_packed_and_plain_are_the_formula(gelu: bool, bias: bool) -> None:
    assert can_pack(torch.float32)
    torch.manual_seed(0)
    weight, x = torch.randn(40, 24), torch.randn(33, 24)
    offset = torch.randn(40) if bias else None
    expected = x.double() @ weight.double().t() + (offset if bias else 0)
    expected = F.gelu(expected) if gelu else expected
    for pack in (False, True):
        found = prepare_linear(weight, offset, 5000, gelu=gelu, pack=pack)(x)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_without_onednn_it_runs_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, x = torch.randn(8, 4), torch.randn(3000, 4)
    packed = prepare_linear(weight, None, len(x))(x)
    with torch.backends.mkldnn.flags(enabled=False):
        torch.testing.assert_close(prepare_linear(weight, None, len(x))(x), packed)
