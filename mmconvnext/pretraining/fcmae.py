"""FCMAE, the fully convolutional masked autoencoder (ConvNeXt V2, arXiv 2301.00808, section 3 and appendix A)."""

from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmconvnext.backbones.arguments import checked
from mmconvnext.backbones.convnext import Block
from mmconvnext.errors import UserError
from mmconvnext.pretraining.masked_convnext import MaskedConvNeXt
from mmconvnext.pretraining.visible_cells import CELL, VisibleCells


@MODELS.register_module()
class FCMAE(BaseModel):
    """Learns a backbone by reconstructing masked cells of an image from the visible ones.

    The encoder sees only the visible cells. At masked cells, a learned token takes the place of the encoder's output. A
    decoder of ordinary blocks then predicts the pixels of each cell. The loss counts only masked cells.

    Parameters have the names of the authors' pre-training code, in its dense layout.

    Args:
        backbone: Config of the :class:`~mmconvnext.backbones.convnext.ConvNeXt` to be trained, without ``out_indices``.
        mask_ratio: Share of the 32x32 cells that is masked.
        decoder_width: Channels of the decoder.
        decoder_depth: Blocks of the decoder.
        norm_pix_loss: Whether each cell's pixels are normalized by their own mean and standard deviation before they
            are compared, as for the released weights.
        data_preprocessor: Config of the data preprocessor, which normalizes the images.
        init_cfg: MMEngine's initialization.

    Raises:
        UserError: If an argument is out of range.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        mask_ratio: float = 0.6,
        decoder_width: int = 512,
        decoder_depth: int = 1,
        norm_pix_loss: bool = True,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.mask_ratio = checked(
            'mask_ratio',
            mask_ratio,
            (int, float),
            lambda ratio: 0 < ratio < 1,
            'a number above 0 and below 1, such as 0.6',
        )
        for name, count in (('decoder_width', decoder_width), ('decoder_depth', decoder_depth)):
            checked(name, count, [int], lambda n: n > 0, 'a positive integer')
        self.norm_pix_loss = checked('norm_pix_loss', norm_pix_loss, [bool], lambda _: True, 'True or False')
        if 'out_indices' in backbone:
            raise UserError('the backbone of FCMAE has no out_indices: its output is the last stage. Leave them out.')
        encoder = MaskedConvNeXt(**{name: value for name, value in backbone.items() if name != 'type'})
        self.in_channels = encoder.in_channels
        self.encoder = encoder
        self.proj = nn.Conv2d(encoder.arch.widths[-1], decoder_width, kernel_size=1)
        self.mask_token = nn.Parameter(torch.empty(1, decoder_width, 1, 1))
        self.decoder = nn.Sequential(*(Block(decoder_width, 0.0, 0.0, use_grn=True) for _ in range(decoder_depth)))
        self.pred = nn.Conv2d(decoder_width, CELL**2 * self.in_channels, kernel_size=1)
        self._init_decoder()
        # Gradients of convolutions are channels-last, and DDP warns where parameters are not
        for layer in (self.proj, self.decoder, self.pred):
            layer.to(memory_format=torch.channels_last)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """Reconstructs images (B, in_channels, H, W), H and W multiples of 32.

        Args:
            inputs: The images, normalized by the data preprocessor.
            data_samples: Not used: there are no labels.
            mode: ``loss`` for training; ``predict`` masks the same cells in every call; ``tensor`` is the same as
                ``predict``.

        Returns:
            In mode ``loss`` a dictionary with ``loss``. Otherwise the data samples, or new ones. Each gets ``loss``,
            ``mask`` (1, rows, columns), which is 1 where a cell was masked, and ``original`` and ``reconstruction``
            (in_channels, H, W), in the units and the order of channels of the data preprocessor's mean. A
            reconstruction shows the original pixels of visible cells, since no loss trains the prediction there.

        Raises:
            UserError: If H or W is not a multiple of 32, or there are too few cells to mask some of them.
        """
        visible = self._draw(inputs, None if mode == 'loss' else torch.Generator().manual_seed(0))
        predicted = self._predict(inputs, visible)
        mask = visible.mask()
        if mode == 'loss':
            losses = self._losses(predicted, inputs)
            return dict(loss=(losses * mask.flatten(1)).sum() / mask.sum())
        samples = data_samples or [BaseDataElement() for _ in inputs]
        for sample, fields in zip(samples, self._reconstruct(inputs, predicted, mask)):
            sample.set_data(fields)
        return samples

    def _draw(self, images: Tensor, generator: torch.Generator | None) -> VisibleCells:
        batch, _, height, width = images.shape
        if height % CELL or width % CELL:
            raise UserError(f'FCMAE got images of {width}x{height}; both sides must be multiples of {CELL}.')
        try:
            visible = VisibleCells.draw(batch, height // CELL, width // CELL, self.mask_ratio, generator)
        except ValueError as error:
            raise UserError(f'Images of {width}x{height} are too small for FCMAE: {error}') from error
        return visible.to(images.device)

    def _predict(self, images: Tensor, visible: VisibleCells) -> Tensor:
        """Predicts the pixels of each cell, (B, cells, 32 * 32 * in_channels)."""
        x = self.proj(self.encoder(images, visible))
        x = torch.where(visible.mask().bool(), self.mask_token.to(x.dtype), x)
        return self.pred(self.decoder(x)).flatten(2).transpose(1, 2)

    def _losses(self, predicted: Tensor, images: Tensor) -> Tensor:
        """Returns the mean squared error of each cell, (B, cells)."""
        targets = pixels_of_cells(images)
        if self.norm_pix_loss:
            targets = (targets - targets.mean(-1, keepdim=True)) / _deviation(targets)
        return (predicted.float() - targets).square().mean(-1)

    @torch.no_grad()
    def _reconstruct(self, images: Tensor, predicted: Tensor, mask: Tensor) -> list[dict[str, Tensor]]:
        losses = (self._losses(predicted, images) * mask.flatten(1)).sum(1) / mask.flatten(1).sum(1)
        pixels = pixels_of_cells(images)
        predicted = predicted.float()
        if self.norm_pix_loss:
            predicted = predicted * _deviation(pixels) + pixels.mean(-1, keepdim=True)
        shown = torch.where(mask.flatten(1).bool()[..., None], predicted, pixels)
        reconstructions = images_of_cells(shown, *mask.shape[2:])
        return [
            dict(
                loss=loss,
                mask=of_image,
                original=self._in_pixels(image),
                reconstruction=self._in_pixels(reconstruction),
            )
            for loss, of_image, image, reconstruction in zip(losses, mask, images, reconstructions)
        ]

    def _in_pixels(self, image: Tensor) -> Tensor:
        preprocessor = self.data_preprocessor
        return image * preprocessor.std + preprocessor.mean if hasattr(preprocessor, 'mean') else image

    def _init_decoder(self) -> None:
        # The authors' code draws the weights of convolutions twice, the second time with standard deviation 1, which
        # led to NaN in fine-tuning (ConvNeXt-V2 issue 64). Here all weights are drawn with 0.02, as in V1
        for layer in (self.proj, self.pred, *self.decoder.modules()):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # all have one
        nn.init.normal_(self.mask_token, std=0.02)


def pixels_of_cells(images: Tensor) -> Tensor:
    """Returns the pixels of each cell in float32, (B, cells, 32 * 32 * C), from images (B, C, H, W).

    Cells are in row-major order. Within a cell, the row of a pixel varies slowest and the channel fastest.
    """
    x = images.float().unflatten(2, (-1, CELL)).unflatten(4, (-1, CELL))  # (B, C, rows, 32, columns, 32)
    return x.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def images_of_cells(pixels: Tensor, rows: int, columns: int) -> Tensor:
    """Returns images (B, C, 32 * rows, 32 * columns): the inverse of :func:`pixels_of_cells`."""
    x = pixels.unflatten(1, (rows, columns)).unflatten(3, (CELL, CELL, -1))  # (B, rows, columns, 32, 32, C)
    return x.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def _deviation(pixels: Tensor) -> Tensor:
    # The standard deviation of each cell divides by n - 1, as in the authors' code
    return (pixels.var(-1, keepdim=True) + 1e-6).sqrt()
