import copy
import gc
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn

from mmconvnext import ConvNeXt, kernels
from mmconvnext.checkpoints import load_pretrained
from mmconvnext.kernels import deploy
from mmconvnext.kernels.tensors import BlockTensors
from tests.conftest import TOY


@pytest.fixture(params=[1, 2])
def backbone(request: pytest.FixtureRequest) -> ConvNeXt:
    torch.manual_seed(0)
    backbone = ConvNeXt(TOY, version=request.param, drop_path_rate=0.5).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return backbone


def worst(found: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...]) -> float:
    return max(float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize('hidden_bytes', [800, deploy.HIDDEN_BYTES])  # many chunks, and one
def test_outputs_stay_the_same(backbone: ConvNeXt, hidden_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, 'HIDDEN_BYTES', hidden_bytes)
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad(), kernels.use('reference'):
        expected = copy.deepcopy(backbone).double()(x.double())
        found = backbone.switch_to_deploy()(x)
    assert all(f.is_contiguous(memory_format=torch.channels_last) for f in found)
    assert worst(found, expected) < 1e-5


def test_bfloat16_inside_is_right_to_its_rounding(backbone: ConvNeXt) -> None:
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = backbone(x)
        found = backbone.switch_to_deploy(torch.bfloat16)(x)
    assert all(f.dtype == torch.float32 for f in found)
    assert 1e-5 < worst(found, expected) < 0.03


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_weights_of_half_precision_are_folded_before_they_are_rounded(backbone: ConvNeXt, dtype: torch.dtype) -> None:
    """Products with layer scale and LayerNorm's weight were rounded in half precision, and sums of such products."""
    backbone.to(dtype).switch_to_deploy()
    block = backbone.stages[1][0]
    t = BlockTensors(*(None if tensor is None else tensor.double() for tensor in BlockTensors.of(block)))
    w1, b1 = t.w1 * t.norm_weight, t.b1 + t.w1 @ t.norm_bias
    scale = 1 if t.layer_scale is None else t.layer_scale
    beta = 0 if t.grn_beta is None else t.w2 @ t.grn_beta
    w2, b2 = (scale * t.w2.t()).t(), scale * t.b2 + beta
    folded = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deploy, 'affine', lambda weight, bias, *args, **kwargs: folded.append((weight, bias)))
        deploy._DeployedBlock(BlockTensors.of(block), dtype)
    for found, exact in zip([tensor for pair in folded for tensor in pair], (w1, b1, w2, b2)):
        # float32 in between is so much finer that almost every number is the nearest of its type
        assert (found == exact.to(dtype)).double().mean() > 0.98


def test_the_state_dict_stays_loadable_and_is_folded_again_once_loaded(backbone: ConvNeXt, tmp_path: Path) -> None:
    x = torch.randn(1, 3, 64, 96)
    before = copy.deepcopy(backbone.state_dict())
    backbone.switch_to_deploy()
    assert backbone.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    other = ConvNeXt(TOY, version=backbone.version).eval()
    torch.save(backbone.state_dict(), tmp_path / 'deployed.pth')
    load_pretrained(other, tmp_path / 'deployed.pth')
    with torch.no_grad():
        assert worst(backbone(x), other(x)) < 1e-5
    backbone.load_state_dict({name: tensor + 0.1 for name, tensor in before.items()})
    other.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        assert worst(backbone(x), other(x)) < 1e-6


CHANGES = [lambda b: b, lambda b: b.train().eval(), lambda b: b.double().float(), copy.deepcopy]


@pytest.mark.parametrize('change', CHANGES)
def test_changed_weights_are_seen(backbone: ConvNeXt, change) -> None:
    x = torch.randn(1, 3, 64, 96)
    other = change(backbone.switch_to_deploy())
    with torch.no_grad():
        other(x)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.1
        fresh = ConvNeXt(TOY, version=backbone.version).eval()
        fresh.load_state_dict(other.state_dict())
        assert worst(other(x), fresh(x)) < 1e-6


@pytest.mark.parametrize('name', ['stages.1', 'stages.1.0', 'stages.1.0.pwconv1', 'downsample_layers.2.1'])
def test_a_hooked_layer_is_refused(backbone: ConvNeXt, name: str) -> None:
    backbone.get_submodule(name).register_forward_hook(lambda *args: None)
    with pytest.raises(ValueError, match='has a hook on it'):
        backbone.switch_to_deploy()


@pytest.mark.parametrize(
    'change',
    [
        lambda b: b.stages.__setitem__(1, torch.nn.Sequential(b.stages[1])),
        lambda b: b.stages[2].__setitem__(1, torch.nn.Identity()),
        lambda b: setattr(b.stages[3], '0', type('Own', (type(b.stages[3][0]),), {})(16, 0.0, 1.0, False)),
    ],
)
def test_a_replaced_block_is_refused(backbone: ConvNeXt, change) -> None:
    change(backbone)
    with pytest.raises(ValueError, match=r'stages\.\d has something else than the blocks'):
        backbone.switch_to_deploy()


@pytest.mark.parametrize('dtype', ['bf16', torch.int8, torch.float8_e4m3fn])
def test_a_dtype_that_nothing_computes_in_is_refused(backbone: ConvNeXt, dtype: object) -> None:
    with pytest.raises(ValueError, match=rf'dtype={dtype!r} must be torch\.bfloat16, float16'):
        backbone.switch_to_deploy(dtype)


def test_a_hook_that_comes_later_is_called(backbone: ConvNeXt) -> None:
    seen = []
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = backbone.switch_to_deploy()(x)
        names = ['downsample_layers.0', 'stages.0', 'stages.1.0', 'stages.2.0.pwconv2', 'norm3']
        for name in names:
            backbone.get_submodule(name).register_forward_hook(lambda *args: seen.append(1))
        found = backbone(x)
    assert len(seen) == len(names)
    assert worst(found, expected) < 1e-5


@pytest.mark.parametrize('dtype', [None, torch.bfloat16])
@pytest.mark.parametrize(
    'change',
    [
        lambda b: b.downsample_layers.__setitem__(1, nn.Sequential(b.downsample_layers[1], nn.ReLU())),
        lambda b: b.downsample_layers.__setitem__(0, b.downsample_layers[0].append(nn.Tanh())),
        lambda b: b.stages.__setitem__(1, shifted(type(b.stages[1]))(list(b.stages[1]), False)),
        lambda b: b.stages[2].__setitem__(1, shifted(type(b.stages[2][1]))(12, 0.0, 0.0, b.version == 2)),
    ],
)
def test_what_is_replaced_later_runs(backbone: ConvNeXt, change, dtype: torch.dtype | None) -> None:
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        before = backbone.switch_to_deploy(dtype)(x)
        change(backbone)
        found = backbone.eval()(x)
        expected = copy.deepcopy(backbone)(x)
    assert worst(expected, before) > 0.1
    assert worst(found, expected) < 1e-5


def shifted(kind: type[nn.Module]) -> type[nn.Module]:
    class Shifted(kind):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).roll(1, 1)

    return Shifted


def test_a_deployed_backbone_is_freed_with_its_last_reference(backbone: ConvNeXt) -> None:
    model = copy.deepcopy(backbone).switch_to_deploy()
    gone = weakref.ref(model._deployed)
    gc.collect()
    gc.disable()
    try:
        del model
        assert gone() is None
    finally:
        gc.enable()


def test_a_meta_input_runs_or_fails_as_it_does_without(backbone: ConvNeXt) -> None:
    x = torch.randn(1, 3, 64, 96, device='meta')
    with pytest.raises(RuntimeError) as expected:
        backbone(x)
    with pytest.raises(RuntimeError) as found:
        backbone.switch_to_deploy()(x)
    assert str(found.value) == str(expected.value)
    outs = backbone.to('meta')(x)
    assert [out.shape for out in outs] == [out.shape for out in copy.deepcopy(backbone)(x)]
    assert all(out.is_meta for out in outs)


def test_a_replaced_downsampling_layer_runs_and_keeps_what_it_returned(backbone: ConvNeXt) -> None:
    class Stem(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return kept[0]

    channels = backbone.arch.widths[0]
    kept = [torch.randn(1, channels, 16, 24).to(memory_format=torch.channels_last)]
    before = kept[0].clone()
    backbone.downsample_layers[0] = Stem()
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = backbone(x)
        found = backbone.switch_to_deploy()(x)
    assert worst(found, expected) < 1e-5
    assert torch.equal(kept[0], before)


@pytest.mark.parametrize('dtype', [None, torch.bfloat16])
def test_an_input_of_another_dtype_fails_as_it_does_without(backbone: ConvNeXt, dtype: torch.dtype | None) -> None:
    x = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with pytest.raises(RuntimeError) as expected:
        backbone(x)
    with pytest.raises(RuntimeError) as found:
        backbone.switch_to_deploy(dtype)(x)
    assert str(found.value) == str(expected.value)


def test_autocast_and_tracing_see_the_layers(backbone: ConvNeXt) -> None:
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        expected = backbone(x)
        found = backbone.switch_to_deploy()(x)
    assert worst(found, expected) == 0
    with torch.no_grad():
        traced = torch.jit.trace(backbone, x)
        assert worst(traced(x), backbone(x)) < 1e-5


def test_half_precision_holds_the_energy_of_large_activations() -> None:
    torch.manual_seed(0)
    backbone = ConvNeXt(TOY, version=2, out_indices=(0,)).eval()
    block = backbone.stages[0][0]
    nn.init.constant_(block.pwconv1.bias, 500)  # its square is beyond float16
    nn.init.normal_(block.grn.gamma)
    x = torch.randn(1, 3, 256, 256)
    with torch.no_grad():
        (expected,) = backbone(x)
        (found,) = backbone.switch_to_deploy(torch.float16)(x)
    assert found.isfinite().all()
    assert worst((found,), (expected,)) < 2e-2


def test_a_tracer_sees_the_layers_of_a_deployed_backbone(backbone: ConvNeXt) -> None:
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = backbone(x)
        found = torch.fx.symbolic_trace(backbone.switch_to_deploy())(x)
    assert worst(found, expected) < 1e-5
