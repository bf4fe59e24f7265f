"""MMEngine's way to the checkpoint loader."""

from typing import Any

from mmengine.registry import WEIGHT_INITIALIZERS

from mmconvnext.backbones.convnext import ConvNeXt
from mmconvnext.checkpoints.load import load_pretrained
from mmconvnext.checkpoints.stem import StemPolicy


@WEIGHT_INITIALIZERS.register_module()
class ConvNeXtPretrained:
    """``init_cfg`` that fills a backbone from a checkpoint: ``dict(type='ConvNeXtPretrained', checkpoint=...)``.

    The plain ``type='Pretrained'`` of a :class:`~mmconvnext.backbones.convnext.ConvNeXt` is this one too.

    Args:
        checkpoint: A path, an http(s) address, ``hf-hub:org/name``, or a short name, such as ``convnext_tiny.in1k``.
        prefix: Which network to take from a file that holds several, such as ``teacher.backbone``.
        key: Which entry of a file to take if it has several, such as ``model_ema``.
        final_norm: Whether the output norm of stage 3 starts from the norm before the classifier.
        adapt_stem: ``repeat``, ``zero`` or ``refuse``; see :func:`~mmconvnext.checkpoints.stem.adapt_stem`.
        allow_pickle: Whether to read a file that can run any code as it is read.
        map_location: That of ``Pretrained``. Files are always read on the CPU.
    """

    def __init__(
        self,
        checkpoint: str,
        prefix: str | None = None,
        key: str | None = None,
        final_norm: bool = False,
        adapt_stem: StemPolicy = 'repeat',
        allow_pickle: bool = False,
        map_location: Any = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.options: dict[str, Any] = dict(
            prefix=prefix, key=key, final_norm=final_norm, adapt_stem=adapt_stem, allow_pickle=allow_pickle
        )

    def __call__(self, module: ConvNeXt) -> None:
        """Loads the checkpoint into ``module``.

        Raises:
            CheckpointError: If the checkpoint cannot be had, or does not fill the backbone.
        """
        load_pretrained(module, self.checkpoint, **self.options)
