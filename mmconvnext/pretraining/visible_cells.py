"""Draws the cells of an image that an encoder sees, takes them out of maps, and puts them back.

A cell is a square of 32x32 pixels of the image, which is one pixel of the last stage's map. In the maps of the stages,
at strides 4, 8, 16 and 32, its side s is 8, 4, 2 or 1 pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor

CELL = 32  # pixels; the stride of ConvNeXt's last stage


class VisibleCells(NamedTuple):
    """The visible cells of a batch of images. Each image has K of them.

    Args:
        cells: (B, K) int64, the numbers of the visible cells in row-major order, ascending.
        rows: Rows of cells in an image.
        columns: Columns of cells in an image.
    """

    cells: Tensor
    rows: int
    columns: int

    @classmethod
    def draw(
        cls, batch: int, rows: int, columns: int, mask_ratio: float, generator: torch.Generator | None = None
    ) -> 'VisibleCells':
        """Draws the cells of each image independently (arXiv 2301.00808, section 3).

        Of L cells, ``int(L * (1 - mask_ratio))`` are visible, as in the authors' code: 19 of 49 at ratio 0.6.

        Args:
            batch: B.
            rows: Rows of cells in an image.
            columns: Columns of cells in an image.
            mask_ratio: Share of the cells that is masked, between 0 and 1.
            generator: The random number generator, on the CPU; None uses PyTorch's default one.

        Raises:
            ValueError: If no cell would be visible, or none masked.
        """
        count = rows * columns
        kept = int(count * (1 - mask_ratio))
        if not 0 < kept < count:
            raise ValueError(
                f'{rows}x{columns} cells with mask_ratio={mask_ratio} leave {kept} visible and {count - kept} masked; '
                'there must be at least one of each.'
            )
        noise = torch.rand(batch, count, generator=generator)
        return cls(noise.argsort(1)[:, :kept].sort(1).values, rows, columns)

    def to(self, device: torch.device) -> 'VisibleCells':
        """Returns the cells on another device."""
        return self._replace(cells=self.cells.to(device))

    def mask(self) -> Tensor:
        """Returns (B, 1, rows, columns) in float32: 1 where a cell is masked."""
        mask = torch.ones(len(self.cells), self.rows * self.columns, device=self.cells.device)
        return mask.scatter_(1, self.cells, 0).view(-1, 1, self.rows, self.columns)

    def take(self, maps: Tensor) -> Tensor:
        """Takes the visible cells out of maps.

        Args:
            maps: (B, C, rows * s, columns * s).

        Returns:
            (B, K, s, s, C), contiguous.
        """
        return self._cells(maps)[self._places()]

    def put(self, cells: Tensor) -> Tensor:
        """Puts cells back into maps that are 0 elsewhere.

        Args:
            cells: (B, K, s, s, C).

        Returns:
            (B, C, rows * s, columns * s), in channels-last memory.
        """
        batch, _, side, _, channels = cells.shape
        maps = cells.new_zeros(batch, self.rows * side, self.columns * side, channels).permute(0, 3, 1, 2)
        self._cells(maps)[self._places()] = cells
        return maps

    def _cells(self, maps: Tensor) -> Tensor:
        # A view of (B, C, rows * s, columns * s) as (B, rows, columns, s, s, C)
        side = maps.shape[2] // self.rows
        return maps.unflatten(2, (self.rows, side)).unflatten(4, (self.columns, side)).permute(0, 2, 4, 3, 5, 1)

    def _places(self) -> tuple[Tensor, Tensor, Tensor]:
        # Image, row and column of each visible cell, which broadcast to (B, K)
        image = torch.arange(len(self.cells), device=self.cells.device)[:, None]
        return image, self.cells // self.columns, self.cells % self.columns
