"""A student and a teacher in several processes, each of which takes steps of its own."""

from typing import Any

from mmengine.model import MMSeparateDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS
from torch import nn


@MODEL_WRAPPERS.register_module()
class StudentTeacherDistributed(MMSeparateDistributedDataParallel):
    """MMEngine's wrapper around each part of a model, which leaves the data preprocessor in its place.

    MMEngine puts what ``part.to(device)`` returns in the place of a part, and for MMDetection's
    ``MultiBranchDataPreprocessor`` that is the preprocessor of a single branch.

    Args:
        module: A model with a student and a teacher.
        **options: As MMEngine's.
    """

    def __init__(self, module: nn.Module, **options: Any) -> None:
        preprocessor = module.get_submodule('data_preprocessor')
        super().__init__(module, **options)
        module.data_preprocessor = preprocessor  # which is on the device by now, as the one within it is
