"""Computes the loss on images that were not trained on, and draws reconstructions."""

from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS, VISUALIZERS
from mmengine.visualization import Visualizer

from mmconvnext.pretraining.visible_cells import CELL

GREY = 127  # of masked cells


@METRICS.register_module()
class ReconstructionLoss(BaseMetric):
    """FCMAE's loss over a set of images. Every evaluation masks the same cells.

    With ``norm_pix_loss``, predicting the mean of each cell would give a loss of 1.
    """

    def process(self, data_batch: Any, data_samples: list[dict]) -> None:
        """Keeps the loss of each image."""
        self.results += [float(sample['loss']) for sample in data_samples]

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        """Returns the mean over the images, as ``reconstruction_loss``."""
        return dict(reconstruction_loss=sum(results) / len(results))


@VISUALIZERS.register_module()
class ReconstructionVisualizer(Visualizer):
    """Draws an image, its visible cells, and its reconstruction, side by side."""

    legend = 'image, visible cells, reconstruction'

    def add_datasample(
        self, name: str, image: np.ndarray, data_sample: Any, *args: Any, out_file: str | None = None, **kwargs: Any
    ) -> None:
        """Saves a picture.

        Args:
            name: The name of the image; not used.
            image: Not used: the sample has the part of the image that the model saw.
            data_sample: A prediction of :class:`~mmconvnext.pretraining.fcmae.FCMAE`.
            args: Not used, nor are ``kwargs``; visualizers of detectors have more options.
            out_file: The file to write; None writes nothing.
        """
        if out_file is None:
            return
        mask = data_sample.mask[0].numpy().repeat(CELL, 0).repeat(CELL, 1).astype(bool)
        original, reconstruction = (
            data_sample.get(key).numpy().transpose(1, 2, 0) for key in ('original', 'reconstruction')
        )
        masked = np.where(mask[..., None], GREY, original)
        picture = np.concatenate([original, masked, reconstruction], axis=1).clip(0, 255).round().astype(np.uint8)
        Path(out_file).parent.mkdir(parents=True, exist_ok=True)
        mmcv.imwrite(mmcv.rgb2bgr(picture), out_file)
