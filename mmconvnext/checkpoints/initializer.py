"""MMEngine's way to the checkpoint loader."""

from mmengine.registry import WEIGHT_INITIALIZERS

from mmconvnext.backbones.convnext import ConvNeXt
from mmconvnext.checkpoints.load import load_pretrained


@WEIGHT_INITIALIZERS.register_module()
class ConvNeXtPretrained:
    """``init_cfg`` that fills a backbone from a checkpoint: ``dict(type='ConvNeXtPretrained', checkpoint=...)``.

    Args:
        checkpoint: A path or an http(s) URL; see :func:`~mmconvnext.checkpoints.load.load_pretrained`.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint

    def __call__(self, module: ConvNeXt) -> None:
        """Loads the checkpoint into ``module``.

        Raises:
            CheckpointError: If the checkpoint cannot be had, or does not fill the backbone.
        """
        load_pretrained(module, self.checkpoint)
