import pytest
import torch

from mmconvnext.backbones.layers import GRN, DropPath, LayerNorm2d


def test_layer_norm_2d_normalizes_channels_of_each_pixel():
    norm = LayerNorm2d(6, eps=1e-6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 6, 3, 5)
    mean = x.mean(1, keepdim=True)
    variance = x.var(1, unbiased=False, keepdim=True)
    expected = (x - mean) / (variance + 1e-6).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), expected)


def test_grn_is_the_papers_formula():
    grn = GRN(5).double()
    torch.nn.init.normal_(grn.gamma)
    torch.nn.init.normal_(grn.beta)
    x = torch.randn(2, 3, 4, 5, dtype=torch.double)  # (B, H, W, C)
    gx = x.pow(2).sum((1, 2), keepdim=True).sqrt()
    nx = gx / (gx.mean(-1, keepdim=True) + 1e-6)
    expected = grn.gamma * (x * nx) + grn.beta + x
    torch.testing.assert_close(grn(x), expected)


def test_grn_starts_as_identity_and_passes_gradients_through_a_dead_channel():
    grn = GRN(4)
    x = torch.randn(1, 2, 3, 4)
    x[..., 0] = 0
    x.requires_grad_()
    torch.testing.assert_close(grn(x), x)
    grn(x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_large_half_inputs_at_1024_do_not_overflow(dtype):
    # 65536 pixels of 2000 each: the sum of squares is 2.6e11, four million times float16's largest number
    x = torch.full((1, 256, 256, 2), 2000.0, dtype=dtype)
    x[..., 1] = -1000
    grn = GRN(2).to(dtype)
    torch.nn.init.constant_(grn.gamma, 0.5)
    # The norms over their mean, 1500: 4/3 and 2/3
    expected = torch.tensor([2000 * (1 + 0.5 * 4 / 3), -1000 * (1 + 0.5 * 2 / 3)])
    torch.testing.assert_close(grn(x)[0, 7, 9].float(), expected, rtol=1e-2, atol=0)

    norm = LayerNorm2d(2).to(dtype)
    y = norm(x.permute(0, 3, 1, 2) * 30)  # 60000 and -30000
    torch.testing.assert_close(y[0, :, 7, 9].float(), torch.tensor([1.0, -1.0]), rtol=1e-2, atol=0)


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    drop = DropPath(0.25)
    x = torch.ones(4000, 1, 2, 3)
    y = drop(x)
    assert y.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert (y == y[:, :1, :1, :1]).all()
    assert y.mean().item() == pytest.approx(1, abs=0.05)
    assert drop.eval()(x) is x
    assert DropPath(0.0).train()(x) is x
