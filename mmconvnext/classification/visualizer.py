"""Pictures of classified images."""

from typing import Any

import numpy as np
from mmengine.registry import VISUALIZERS
from mmengine.visualization import Visualizer
from PIL import Image, ImageDraw, ImageFont

SHOWN = 3  # classes of a picture
FONT = 16  # pixels


@VISUALIZERS.register_module()
class ClassVisualizer(Visualizer):
    """Writes the class of an image below it, and the most likely ones by the model with their probabilities."""

    legend = 'image, its class, and the most likely classes'

    def add_datasample(
        self, name: str, image: np.ndarray, data_sample: Any, *args: Any, out_file: str | None = None, **kwargs: Any
    ) -> None:
        """Saves a picture.

        Args:
            name: Of the image.
            image: (H, W, 3) uint8, RGB.
            data_sample: What :class:`~mmconvnext.classification.image_classifier.ImageClassifier` predicts.
            args: Not used, nor are ``kwargs``; visualizers of detectors have more options.
            out_file: Where to; None shows nothing.
        """
        if out_file is None:
            return
        classes = self.dataset_meta['classes']
        likely = data_sample.logits.softmax(0).topk(min(SHOWN, len(classes)))
        lines = [f'class: {classes[data_sample.gt_label]}']
        lines += [f'{p:.2f}  {classes[i]}' for p, i in zip(likely.values.tolist(), likely.indices.tolist())]
        height, width = image.shape[:2]
        step = FONT + 4
        picture = Image.new('RGB', (width, height + step * len(lines) + 8), 'white')
        picture.paste(Image.fromarray(image), (0, 0))
        pen, font = ImageDraw.Draw(picture), ImageFont.load_default(FONT)
        for number, line in enumerate(lines):
            pen.text((8, height + 4 + step * number), line, fill='black', font=font)
        picture.save(out_file)
