"""The loss, the decoder and the masks against formulas and the authors' published figures."""

import pytest
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmconvnext.errors import UserError
from mmconvnext.pretraining.fcmae import FCMAE, images_of_cells, pixels_of_cells
from mmconvnext.pretraining.visible_cells import VisibleCells

BACKBONE = dict(type='ConvNeXt', version=2, arch=dict(depths=(1, 1, 1, 1), widths=(4, 6, 8, 10)))


def fcmae(**options: object) -> FCMAE:
    return FCMAE(BACKBONE, decoder_width=16, **options)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 64, 96)


@pytest.mark.parametrize(('rows', 'columns', 'kept'), [(7, 7, 19), (2, 3, 2), (4, 4, 6)])
def test_as_many_cells_are_visible_as_in_the_authors_code(rows: int, columns: int, kept: int) -> None:
    visible = VisibleCells.draw(5, rows, columns, 0.6)
    assert visible.cells.shape == (5, kept)
    assert (visible.mask() == 0).flatten(1).sum(1).tolist() == [kept] * 5
    assert all(len(set(cells)) == kept for cells in visible.cells.tolist())


def test_every_cell_is_masked_equally_often() -> None:
    share = VisibleCells.draw(20000, 2, 3, 0.6).mask().mean(0)
    torch.testing.assert_close(share, torch.full((1, 2, 3), 4 / 6), atol=0.02, rtol=0)


def test_a_cell_is_taken_from_its_place_and_put_back(images: Tensor) -> None:
    visible = VisibleCells(torch.tensor([[1, 5], [0, 3]]), 2, 3)
    cells = visible.take(images)
    torch.testing.assert_close(cells[0, 1], images[0, :, 32:64, 64:96].permute(1, 2, 0))
    torch.testing.assert_close(cells[1, 1], images[1, :, 32:64, 0:32].permute(1, 2, 0))
    shown = (1 - visible.mask()).repeat_interleave(32, 2).repeat_interleave(32, 3)
    torch.testing.assert_close(visible.put(cells), images * shown)


def test_pixels_of_a_cell_go_by_row_then_column_then_channel(images: Tensor) -> None:
    pixels = pixels_of_cells(images)
    row, column, y, x, channel = 1, 2, 5, 7, 2
    assert pixels[1, row * 3 + column, (y * 32 + x) * 3 + channel] == images[1, channel, 32 * row + y, 32 * column + x]
    torch.testing.assert_close(images_of_cells(pixels, 2, 3), images)


@pytest.mark.parametrize('norm_pix_loss', [False, True])
def test_loss_is_the_mean_over_masked_cells_of_the_mean_squared_error(images: Tensor, norm_pix_loss: bool) -> None:
    """With a bias alone as prediction, the loss has a closed form for each cell."""
    model = fcmae(norm_pix_loss=norm_pix_loss)
    nn.init.zeros_(model.pred.weight)
    nn.init.normal_(model.pred.bias)
    torch.manual_seed(1)
    loss = model(images, mode='loss')['loss']
    torch.manual_seed(1)
    mask = VisibleCells.draw(2, 2, 3, 0.6).mask()
    losses = []
    for image, masked in zip(images, mask[:, 0]):
        for row in range(2):
            for column in range(3):
                if masked[row, column]:
                    cell = image[:, 32 * row : 32 * row + 32, 32 * column : 32 * column + 32].permute(1, 2, 0).flatten()
                    if norm_pix_loss:
                        cell = (cell - cell.mean()) / (cell.var(unbiased=True) + 1e-6).sqrt()
                    losses.append((model.pred.bias - cell).square().mean())
    torch.testing.assert_close(loss, torch.stack(losses).mean())


def test_predicting_the_mean_of_each_cell_costs_1(images: Tensor) -> None:
    model = fcmae()
    nn.init.zeros_(model.pred.weight)
    assert model(images, mode='loss')['loss'].item() == pytest.approx(1, abs=1e-3)


def test_only_what_the_encoder_sees_and_the_token_reach_the_prediction(images: Tensor) -> None:
    """The prediction at masked cells depends on the visible pixels and the token, and on no masked pixel."""
    model = fcmae(norm_pix_loss=False)
    (sample, _) = model(images, mode='predict')
    masked = sample.mask.bool().repeat_interleave(32, 1).repeat_interleave(32, 2)
    other = torch.where(masked, torch.randn_like(images[0]), images[0])
    (again, _) = model(torch.stack([other, images[1]]), mode='predict')
    torch.testing.assert_close(again.reconstruction[:, masked[0]], sample.reconstruction[:, masked[0]])
    with torch.no_grad():
        model.mask_token.add_(1)
    (moved, _) = model(images, mode='predict')
    assert not torch.allclose(moved.reconstruction[:, masked[0]], sample.reconstruction[:, masked[0]])


def test_reconstruction_is_in_the_pixels_of_the_image(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A perfect prediction gives the image back; visible cells are the image's own."""
    mean, std = [100.0, 120.0, 140.0], [50.0, 60.0, 70.0]
    model = fcmae(data_preprocessor=dict(type='ImgDataPreprocessor', mean=mean, std=std))
    pixels = pixels_of_cells(images)
    normalized = (pixels - pixels.mean(-1, keepdim=True)) / pixels.std(-1, keepdim=True)
    monkeypatch.setattr(model, '_predict', lambda images, visible: normalized)
    samples = model(images, [BaseDataElement(metainfo=dict(img_path=str(i))) for i in range(2)], mode='predict')
    expected = images * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)
    for sample, image in zip(samples, expected):
        torch.testing.assert_close(sample.original, image)
        torch.testing.assert_close(sample.reconstruction, image, atol=1e-3, rtol=1e-4)
        assert sample.loss < 1e-6
    assert [sample.img_path for sample in samples] == ['0', '1']


@pytest.mark.parametrize(('arch', 'millions'), [('atto', 3.87), ('tiny', 4.10), ('base', 4.23), ('huge', 5.15)])
def test_decoder_has_as_many_parameters_as_the_authors(arch: str, millions: float) -> None:
    with torch.device('meta'):
        model = FCMAE(dict(type='ConvNeXt', version=2, arch=arch))
    count = sum(p.numel() for name, p in model.named_parameters() if not name.startswith('encoder.'))
    assert round(count / 1e6, 2) == millions


def test_names_are_those_of_the_authors_pre_training_code() -> None:
    names = set(fcmae().state_dict())
    assert {
        'encoder.downsample_layers.0.0.weight',
        'encoder.downsample_layers.3.1.bias',
        'encoder.stages.3.0.dwconv.weight',
        'encoder.stages.0.0.grn.gamma',
        'proj.weight',
        'mask_token',
        'decoder.0.pwconv1.weight',
        'decoder.0.grn.beta',
        'pred.bias',
    } <= names
    assert not [name for name in names if name.startswith('encoder.norm')]  # they would get no gradient


def test_every_parameter_gets_a_gradient(images: Tensor) -> None:
    model = fcmae()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    model(images, mode='loss')['loss'].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(('width', 'shape'), [(16, (2, 3, 64, 96)), (32, (16, 3, 128, 128))])
def test_gradients_lie_in_memory_as_the_parameters_do(width: int, shape: tuple[int, ...]) -> None:
    """DDP warned of the decoder's kernels, and copied their gradients in every step. Which ones depends on the size."""
    model = FCMAE(BACKBONE, decoder_width=width)
    model(torch.randn(shape), mode='loss')['loss'].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.stride() == parameter.stride(), name


def test_initial_weights_have_the_deviation_of_v1() -> None:
    """The authors' code draws some again with deviation 1, which gave NaN in fine-tuning."""
    model = FCMAE(dict(type='ConvNeXt', version=2, arch='atto'))
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and parameter.numel() > 1000:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.15), name
        elif name.endswith('.bias'):
            assert parameter.abs().sum() == 0, name


def test_evaluation_masks_the_same_cells_each_time(images: Tensor) -> None:
    model = fcmae().eval()
    first, second = (model(images, mode='predict')[0] for _ in range(2))
    assert torch.equal(first.mask, second.mask)
    assert first.loss == second.loss


@pytest.mark.parametrize('size', [(64, 100), (32, 32)])
def test_images_that_do_not_fit_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match='x'.join(map(str, reversed(size)))):
        fcmae()(torch.zeros(1, 3, *size), mode='loss')


@pytest.mark.parametrize(
    'options',
    [
        dict(backbone=dict(BACKBONE, out_indices=(0, 1, 2, 3))),
        dict(backbone=BACKBONE, mask_ratio=1.0),
        dict(backbone=BACKBONE, mask_ratio='0.6'),
        dict(backbone=BACKBONE, decoder_width=0),
        dict(backbone=BACKBONE, decoder_depth=1.5),
        dict(backbone=BACKBONE, norm_pix_loss='yes'),
    ],
)
def test_networks_that_cannot_be_pre_trained_are_refused(options: dict) -> None:
    with pytest.raises(UserError):
        FCMAE(**options)
