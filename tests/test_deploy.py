import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmconvnext import ConvNeXt, kernels
from mmconvnext.backbones.convnext import Block, Stage
from mmconvnext.deploy import deploy
from mmconvnext.errors import UserError
from mmconvnext.kernels.cpu import chunked_forward
from tests.conftest import TOY

X = (2, 3, 64, 96)


@pytest.fixture(params=[1, 2], ids=['v1', 'v2'])
def backbone(request: pytest.FixtureRequest) -> ConvNeXt:
    backbone = ConvNeXt(TOY, version=request.param, drop_path_rate=0.5).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return backbone


def run(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return model(x)


def worst(found: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...]) -> float:
    return max(float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize('activation_bytes', [800, chunked_forward.ACTIVATION_BYTES], ids=['many chunks', 'one chunk'])
def test_outputs_are_those_of_the_backbone_in_float64(
    backbone: ConvNeXt, activation_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked_forward, 'ACTIVATION_BYTES', activation_bytes)
    x = torch.randn(X)
    with kernels.use('reference'):
        expected = run(copy.deepcopy(backbone).double(), x.double())
    found = deploy(backbone)(x.requires_grad_())
    assert worst(found, expected) < 1e-5
    assert all(out.is_contiguous(memory_format=torch.channels_last) and not out.requires_grad for out in found)


def test_some_stages_of_images_with_other_channels() -> None:
    backbone = ConvNeXt(TOY, in_channels=5, out_indices=(0, 2)).eval()
    deployed = deploy(backbone)
    x = torch.randn(1, 5, 33, 47)
    assert worst(deployed(x), run(backbone, x)) < 1e-5
    assert (deployed.out_channels, deployed.out_indices, deployed.out_strides) == ((4, 12), (0, 2), (4, 16))
    with pytest.raises(UserError) as error:
        deployed(torch.randn(1, 5, 15, 47))
    assert error.value.facts['stride'] == 16


def test_a_backbone_in_training_mode_is_deployed_as_in_eval_mode(backbone: ConvNeXt) -> None:
    x = torch.randn(X)
    expected = run(backbone, x)
    assert worst(deploy(backbone.train())(x), expected) < 1e-5
    assert backbone.training


def test_bfloat16_differs_by_its_rounding(backbone: ConvNeXt) -> None:
    x = torch.randn(X)
    expected = run(backbone, x)
    found = deploy(backbone, torch.bfloat16)(x)
    assert all(out.dtype == torch.float32 for out in found)
    assert 1e-5 < worst(found, expected) < 0.03


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_weights_of_half_precision_are_folded_before_they_are_rounded(backbone: ConvNeXt, dtype: torch.dtype) -> None:
    """Products with layer scale and LayerNorm's weight were rounded in half precision, and sums of such products."""
    backbone.to(dtype)
    found = deploy(backbone).stages[1][0]
    block = copy.deepcopy(backbone.stages[1][0]).double()
    w1, w2 = block.pwconv1.weight, block.pwconv2.weight
    scale = 1 if block.gamma is None else block.gamma
    beta = 0 if block.gamma is not None else w2 @ block.grn.beta
    pairs = [
        (found.pwconv1.weight, w1 * block.norm.weight),
        (found.pwconv1.bias, block.pwconv1.bias + w1 @ block.norm.bias),
        (found.pwconv2.weight, (scale * w2.t()).t()),
        (found.pwconv2.bias, scale * block.pwconv2.bias + beta),
    ]
    for folded, exact in pairs:
        # float32 is so much finer that almost every number is the nearest of its dtype
        assert (folded == exact.to(dtype)).double().mean() > 0.98


def test_half_precision_holds_the_norm_of_large_activations() -> None:
    backbone = ConvNeXt(TOY, version=2, out_indices=(0,)).eval()
    nn.init.constant_(backbone.stages[0][0].pwconv1.bias, 500)  # its square is beyond float16
    nn.init.normal_(backbone.stages[0][0].grn.gamma)
    x = torch.randn(1, 3, 256, 256)
    found = deploy(backbone, torch.float16)(x)
    assert found[0].isfinite().all()
    assert worst(found, run(backbone, x)) < 2e-2


def test_it_is_a_snapshot(backbone: ConvNeXt) -> None:
    x = torch.randn(X)
    before = copy.deepcopy(backbone.state_dict())
    deployed = deploy(backbone)
    expected = deployed(x)
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.1
    backbone.stages[1][0].pwconv1.register_forward_hook(lambda *args: 1 / 0)
    assert worst(deployed(x), expected) == 0
    deployed.stages[0][0].packed = None  # as before the first forward
    assert worst(deployed(x), expected) == 0


COPIES = {
    'deepcopy': copy.deepcopy,
    'pickle': lambda model: pickle.loads(pickle.dumps(model)),
    'moved': lambda model: model.to('cpu'),
    'converted': lambda model: model.double().float(),
}


@pytest.mark.parametrize('dtype', [None, torch.bfloat16])
@pytest.mark.parametrize('copied', COPIES.values(), ids=COPIES)
def test_copies_compute_the_same(backbone: ConvNeXt, copied: Callable, dtype: torch.dtype | None) -> None:
    x = torch.randn(X)
    deployed = deploy(backbone, dtype)
    expected = deployed(x)  # now it holds packed weights, which can be neither copied nor pickled
    assert worst(copied(deployed)(x), expected) < (1e-6 if dtype is None else 0.02)


def test_a_converted_one_packs_its_weights_again(backbone: ConvNeXt) -> None:
    x = torch.randn(X)
    deployed = deploy(backbone)
    with torch.inference_mode():
        expected = deployed(x)
    found = deployed.double()(x.double())
    assert all(out.dtype == torch.float64 for out in found)
    assert worst(found, expected) < 1e-5


def test_it_moves_to_another_device(backbone: ConvNeXt) -> None:
    deployed = deploy(backbone)
    expected = deployed(torch.randn(X))
    outs = deployed.to('meta')(torch.randn(X, device='meta'))
    assert [out.shape for out in outs] == [out.shape for out in expected]
    assert all(out.is_meta for out in outs)


SEEN_LAYERS = {
    'jit.trace': lambda model: torch.jit.trace(model, torch.randn(X), check_trace=False),
    'fx': torch.fx.symbolic_trace,
    'export': lambda model: torch.export.export(model, (torch.randn(X),)).module(),
    'compile': lambda model: torch.compile(model, backend='eager', fullgraph=True),
    'reference': lambda model: kernels.use('reference')(model),
}


@pytest.mark.parametrize('dtype', [None, torch.bfloat16])
@pytest.mark.parametrize('transform', SEEN_LAYERS.values(), ids=SEEN_LAYERS)
def test_layers_compute_the_same_where_they_have_to(
    backbone: ConvNeXt, transform: Callable, dtype: torch.dtype | None
) -> None:
    x = torch.randn(X)
    deployed = deploy(backbone, dtype)
    expected = deployed(x)
    assert worst(tuple(transform(deployed)(x)), expected) < (1e-5 if dtype is None else 0.02)


@pytest.mark.parametrize('dtype', [None, torch.bfloat16])
def test_autocast(backbone: ConvNeXt, dtype: torch.dtype | None) -> None:
    x = torch.randn(X)
    expected = run(backbone, x)
    with torch.autocast('cpu', torch.bfloat16):
        theirs, found = run(backbone, x), deploy(backbone, dtype)(x)
    assert max(worst(theirs, expected), worst(found, expected)) < 0.03
    assert worst(found, expected) > 1e-4  # it did compute in bfloat16


def test_a_dispatch_mode_sees_the_layers(backbone: ConvNeXt) -> None:
    x = torch.randn(X)
    flops = []
    for model in (backbone, deploy(backbone)):
        with FlopCounterMode(display=False) as counter:
            run(model, x)
        flops.append(counter.get_total_flops())
    assert flops[0] == flops[1] > 0


def test_a_hook_on_a_layer_of_it_is_called(backbone: ConvNeXt) -> None:
    deployed, x, seen = deploy(backbone), torch.randn(X), []
    expected = deployed(x)
    names = ['', 'downsample_layers.0', 'stages.0', 'stages.1.0', 'stages.2.0.pwconv2', 'norm3']
    for name in names:
        deployed.get_submodule(name).register_forward_hook(lambda *args: seen.append(1))
    assert worst(deployed(x), expected) < 1e-5
    assert len(seen) == len(names)


def test_it_cannot_be_trained(backbone: ConvNeXt) -> None:
    model = nn.Sequential(deploy(backbone))
    assert model.eval()[0].train(False) is model[0]
    with pytest.raises(UserError, match='original'):
        model.train()
    assert not any(module.training for module in model[0].modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_it_loads_no_weights(backbone: ConvNeXt) -> None:
    """Folded and original parameters have the same names: loaded, the original ones would lack what was folded."""
    with pytest.raises(UserError):
        deploy(backbone).load_state_dict(backbone.state_dict(), strict=False)


def test_the_old_method_names_its_replacement(backbone: ConvNeXt) -> None:
    with pytest.raises(UserError) as error:
        backbone.switch_to_deploy(torch.bfloat16)
    assert error.value.facts['replacement'] == 'mmconvnext.deploy.deploy'


@pytest.mark.parametrize('name', ['', 'stages.1', 'stages.1.0', 'downsample_layers.2.1'])
def test_a_hooked_layer_is_refused(backbone: ConvNeXt, name: str) -> None:
    backbone.get_submodule(name).register_forward_hook(lambda *args: None)
    with pytest.raises(UserError) as error:
        deploy(backbone)
    assert error.value.facts['module'] == name


def own(kind: type[nn.Module]) -> type[nn.Module]:
    """A subclass whose forward does something else."""
    return type('Own', (kind,), {'forward': lambda self, x: kind.forward(self, x).roll(1, 1)})


REPLACEMENTS = {
    'stages.1': lambda b: b.stages.__setitem__(1, nn.Sequential(*b.stages[1])),
    'stages.2': lambda b: b.stages.__setitem__(2, own(Stage)(list(b.stages[2]), False)),
    'stages.2.1': lambda b: b.stages[2].__setitem__(1, nn.Identity()),
    'stages.3.0': lambda b: b.stages[3].__setitem__(0, own(Block)(16, 0.0, 1.0, False)),
    'stages.0.0': lambda b: setattr(b.stages[0][0], 'pwconv1', nn.Sequential(b.stages[0][0].pwconv1)),
}


@pytest.mark.parametrize('name', REPLACEMENTS)
def test_a_replaced_layer_is_refused(backbone: ConvNeXt, name: str) -> None:
    REPLACEMENTS[name](backbone)
    with pytest.raises(UserError) as error:
        deploy(backbone)
    assert error.value.facts['module'] == name


def test_a_replaced_downsampling_layer_runs_and_keeps_its_output(backbone: ConvNeXt) -> None:
    kept = torch.randn(2, 4, 16, 24).to(memory_format=torch.channels_last)
    before = kept.clone()

    class Stem(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return kept

    backbone.downsample_layers[0] = Stem()
    x = torch.randn(X)
    expected = run(backbone, x)
    assert worst(deploy(backbone)(x), expected) < 1e-5
    assert torch.equal(kept, before)


@pytest.mark.parametrize('model', [nn.Identity(), own(ConvNeXt)(TOY)])
def test_what_is_not_a_convnext_is_refused(model: nn.Module) -> None:
    with pytest.raises(UserError) as error:
        deploy(model)
    assert error.value.facts['type'] is type(model)


@pytest.mark.parametrize('dtype', ['bf16', torch.int8, torch.float8_e4m3fn])
def test_a_dtype_without_matrix_products_is_refused(backbone: ConvNeXt, dtype: object) -> None:
    with pytest.raises(UserError) as error:
        deploy(backbone, dtype)
    assert error.value.facts['dtype'] == dtype


@pytest.mark.parametrize('dtype', [None, torch.bfloat16])
def test_an_input_of_another_dtype_is_an_error_as_without(backbone: ConvNeXt, dtype: torch.dtype | None) -> None:
    x = torch.randn(X, dtype=torch.float64)
    for model in (backbone, deploy(backbone, dtype)):
        with pytest.raises(RuntimeError):
            model(x)
