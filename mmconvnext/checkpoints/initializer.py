"""The ``init_cfg`` by which MMEngine loads a checkpoint into a backbone."""

from typing import Any

from mmengine.registry import WEIGHT_INITIALIZERS

from mmconvnext.backbones.convnext import ConvNeXt
from mmconvnext.checkpoints.load import load_pretrained
from mmconvnext.checkpoints.stem import StemPolicy


@WEIGHT_INITIALIZERS.register_module()
class ConvNeXtPretrained:
    """``init_cfg`` that loads a checkpoint into a backbone: ``dict(type='ConvNeXtPretrained', checkpoint=...)``.

    In a :class:`~mmconvnext.backbones.convnext.ConvNeXt`, ``type='Pretrained'`` does the same.

    Args:
        checkpoint: A path, a URL, ``hf-hub:org/name``, or a short name, such as ``convnext_tiny.in1k``.
        prefix: Chooses among several networks in a file, such as ``teacher.backbone``.
        key: Chooses among several entries of a file, such as ``model_ema``.
        final_norm: Load the norm before the classifier into the output norm of stage 3.
        adapt_stem: ``repeat``, ``zero`` or ``refuse``; see :func:`~mmconvnext.checkpoints.stem.adapt_stem`.
        allow_pickle: Read files that hold Python objects. Reading them can run any code.
        map_location: Accepted because ``Pretrained`` has it. Files are always read on the CPU.
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
            CheckpointError: If the checkpoint cannot be found or read, or does not fit.
        """
        load_pretrained(module, self.checkpoint, **self.options)
