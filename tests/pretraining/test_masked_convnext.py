"""The encoder against a reference that goes from site to site, values and gradients, and against wrong encoders."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmconvnext.backbones.convnext import Block, ConvNeXt
from mmconvnext.pretraining.masked_convnext import MaskedConvNeXt
from mmconvnext.pretraining.visible_cells import VisibleCells

ROWS, COLUMNS = 2, 3  # 64x96 pixels
Sites = dict[tuple[int, int], Tensor]  # the vector (C,) at each row and column


@pytest.fixture
def encoder() -> MaskedConvNeXt:
    """All parameters are random, so that no bias or GRN of 0 hides a mistake."""
    encoder = MaskedConvNeXt(arch=dict(depths=(2, 1, 2, 1), widths=(4, 6, 8, 10)), version=2).double()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.5)
    return encoder


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 32 * ROWS, 32 * COLUMNS, dtype=torch.float64)


@pytest.fixture
def visible() -> VisibleCells:
    """Neighbours along a side and across a corner, and another choice for each image."""
    return VisibleCells(torch.tensor([[0, 1, 5], [1, 3, 4]]), ROWS, COLUMNS)


def layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    x = x - x.mean()
    return x / (x.square().mean() + 1e-6).sqrt() * norm.weight + norm.bias


def reference(encoder: MaskedConvNeXt, image: Tensor, cells: list[int]) -> Sites:
    """The last stage of one image, with a dictionary of the sites that exist and a loop over their neighbours."""
    (stem, stem_norm), *downsampling = encoder.downsample_layers
    sites: Sites = {}
    for cell in cells:
        top, left = 8 * (cell // COLUMNS), 8 * (cell % COLUMNS)
        for y in range(top, top + 8):
            for x in range(left, left + 8):
                patch = image[:, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
                sites[y, x] = layer_norm((stem.weight * patch).sum((1, 2, 3)) + stem.bias, stem_norm)
    for number, stage in enumerate(encoder.stages):
        if number:
            norm, conv = downsampling[number - 1]
            smaller: Sites = {}
            for y, x in {(y // 2, x // 2) for y, x in sites}:
                taps = [
                    conv.weight[:, :, i, j] @ layer_norm(sites[2 * y + i, 2 * x + j], norm)
                    for i in range(2)
                    for j in range(2)
                ]
                smaller[y, x] = sum(taps, conv.bias)
            sites = smaller
        for block in stage:
            sites = reference_block(block, sites)
    return sites


def reference_block(block: Block, sites: Sites) -> Sites:
    hidden: Sites = {}
    for y, x in sites:
        taps = [
            block.dwconv.weight[:, 0, i, j] * sites[y + i - 3, x + j - 3]
            for i in range(7)
            for j in range(7)
            if (y + i - 3, x + j - 3) in sites
        ]
        hidden[y, x] = F.gelu(block.pwconv1(layer_norm(sum(taps, block.dwconv.bias), block.norm)))
    norms = torch.stack(list(hidden.values())).square().sum(0).sqrt()
    relative = norms / (norms.mean() + 1e-6)
    grn = block.grn
    return {at: sites[at] + block.pwconv2(h + grn.gamma * h * relative + grn.beta) for at, h in hidden.items()}


def dense(
    encoder: MaskedConvNeXt, images: Tensor, visible: VisibleCells, *, mask_convolutions: bool, norm_over: str
) -> Tensor:
    """The whole map with masks: right if each convolution is masked, and GRN's norm is over visible pixels."""
    x = images
    for number, (downsample, stage) in enumerate(zip(encoder.downsample_layers, encoder.stages)):
        x = downsample(x)
        shown = 1 - F.interpolate(visible.mask().to(x), size=x.shape[2:])  # (B, 1, H, W), by the nearest cell
        x = x * shown if number == 0 else x
        for block in stage:
            branch = block.dwconv(x * shown) * shown if mask_convolutions else block.dwconv(x)
            h = F.gelu(block.pwconv1(block.norm(branch.permute(0, 2, 3, 1))))
            counted = h if norm_over == 'all' else h * shown.permute(0, 2, 3, 1)
            axes = (0, 1, 2) if norm_over == 'batch' else (1, 2)
            norms = counted.square().sum(axes, keepdim=True).sqrt()
            h = h + block.grn.gamma * h * norms / (norms.mean(-1, keepdim=True) + 1e-6) + block.grn.beta
            x = x + block.pwconv2(h).permute(0, 3, 1, 2)
    return x


def at_visible(maps: Tensor, visible: VisibleCells) -> Tensor:
    return visible.take(maps)[:, :, 0, 0]  # (B, K, C)


def gradients(encoder: MaskedConvNeXt, output: Tensor) -> dict[str, Tensor]:
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    names, parameters = zip(*encoder.named_parameters())
    return dict(zip(names, torch.autograd.grad((output * weights).sum(), parameters)))


def expected(encoder: MaskedConvNeXt, images: Tensor, visible: VisibleCells) -> Tensor:
    return torch.stack(
        [
            torch.stack([sites[divmod(cell, COLUMNS)] for cell in cells])
            for image, cells in zip(images, visible.cells.tolist())
            for sites in [reference(encoder, image, cells)]
        ]
    )


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_values_and_gradients_equal_the_reference_of_sites(
    encoder: MaskedConvNeXt, images: Tensor, visible: VisibleCells, dtype: torch.dtype, tolerance: float
) -> None:
    right = expected(encoder, images, visible)
    right_gradients = gradients(encoder, right)
    encoder.to(dtype)
    output = at_visible(encoder(images.to(dtype), visible), visible)
    assert (output - right).norm() <= tolerance * right.norm()
    for name, gradient in gradients(encoder, output).items():
        assert (gradient - right_gradients[name]).norm() <= tolerance * right_gradients[name].norm(), name


@pytest.mark.parametrize('mask_convolutions', [False, True])
@pytest.mark.parametrize('norm_over', ['all', 'batch', 'visible'])
def test_of_the_dense_encoders_only_the_masked_one_equals_the_reference(
    encoder: MaskedConvNeXt, images: Tensor, visible: VisibleCells, mask_convolutions: bool, norm_over: str
) -> None:
    """The other five are wrong; four of them were met in other packages or code."""
    right = expected(encoder, images, visible)
    output = dense(encoder, images, visible, mask_convolutions=mask_convolutions, norm_over=norm_over)
    distance = (at_visible(output, visible) - right).norm() / right.norm()
    if mask_convolutions and norm_over == 'visible':
        assert distance < 1e-10
    else:
        assert distance > 1e-3


def test_masked_cells_stay_0_and_change_nothing(encoder: MaskedConvNeXt, images: Tensor, visible: VisibleCells) -> None:
    output = encoder(images, visible)
    masked = visible.mask().bool().expand_as(output)
    assert (output[masked] == 0).all()
    pixels = visible.mask().repeat_interleave(32, 2).repeat_interleave(32, 3).bool()
    changed = torch.where(pixels, torch.nan, images)
    assert torch.equal(encoder(changed, visible), output)


def test_a_visible_pixel_of_one_image_changes_no_other_image(
    encoder: MaskedConvNeXt, images: Tensor, visible: VisibleCells
) -> None:
    before = encoder(images, visible)
    images[0, :, 3, 5] += 1  # in cell 0, which is visible
    after = encoder(images, visible)
    assert not torch.allclose(after[0], before[0])
    assert torch.equal(after[1], before[1])


def test_an_image_without_masked_cells_gives_what_the_backbone_does(images: Tensor) -> None:
    options = dict(arch=dict(depths=(1, 1, 2, 1), widths=(4, 6, 8, 10)), version=2)
    backbone = ConvNeXt(out_indices=(3,), **options).double()
    nn.init.normal_(backbone.stages[0][0].grn.gamma)
    encoder = MaskedConvNeXt(**options).double()
    encoder.load_state_dict({name: t for name, t in backbone.state_dict().items() if not name.startswith('norm3')})
    everything = VisibleCells(torch.arange(ROWS * COLUMNS).expand(2, -1), ROWS, COLUMNS)
    output = backbone.norm3(encoder(images, everything))
    torch.testing.assert_close(output, backbone(images)[0], rtol=1e-10, atol=1e-12)


def test_recomputed_blocks_have_the_same_gradients(
    encoder: MaskedConvNeXt, images: Tensor, visible: VisibleCells
) -> None:
    plain = gradients(encoder, encoder(images, visible))
    encoder.with_cp = True
    for name, gradient in gradients(encoder, encoder(images, visible)).items():
        torch.testing.assert_close(gradient, plain[name])


def test_stochastic_depth_is_drawn_for_each_image(images: Tensor) -> None:
    encoder = MaskedConvNeXt(arch=dict(depths=(1, 1, 1, 1), widths=(4, 6, 8, 10)), version=2, drop_path_rate=0.5)
    cells = VisibleCells(torch.tensor([[0, 1]]).expand(64, -1), ROWS, COLUMNS)
    block = encoder.stages[3][0]
    nn.init.ones_(block.pwconv2.bias)
    x = torch.zeros(64, 3, 32 * ROWS, 32 * COLUMNS)
    full = encoder.eval()(x, cells)[:, :, 0, :2]
    for stage in encoder.stages[:3]:
        stage.eval()
    block.train()
    drawn = encoder(x, cells)[:, :, 0, :2]
    moved = (drawn - full).abs().flatten(1).amax(1)
    assert (moved > 1e-3).sum() > 0
    # Both cells of an image are kept or dropped together
    branch = drawn - (full - 1)  # 0 where dropped, 2 where kept, up to what the other biases add
    assert torch.equal(branch[:, :, 0] > 1, branch[:, :, 1] > 1)
