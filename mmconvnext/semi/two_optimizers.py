"""An optimizer for the student and one for the teacher, both as the config has one."""

import copy
from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from mmconvnext.errors import UserError
from mmconvnext.optim import LayerDecayOptimWrapperConstructor

PARTS = ('student', 'teacher')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class StudentTeacherOptimWrapperConstructor:
    """Builds the same optimizer, with layer-wise decay, for a model's student and for its teacher.

    Args:
        optim_wrapper_cfg: As for :class:`~mmconvnext.optim.LayerDecayOptimWrapperConstructor`.
        paramwise_cfg: Likewise.

    Raises:
        UserError: If gradients would be accumulated: the student's step has to come before the teacher's.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        if optim_wrapper_cfg.get('accumulative_counts', 1) != 1:
            raise UserError(
                'optim_wrapper.accumulative_counts must be 1: the teacher is told after each batch how the '
                "student's step went.",
                key='optim_wrapper.accumulative_counts',
            )
        self.optim_wrapper_cfg = optim_wrapper_cfg
        self.paramwise_cfg = paramwise_cfg

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """Returns the optimizers of ``model.student`` and ``model.teacher``, by these names.

        Raises:
            UserError: If the model does not have both, or as the constructor of layer-wise decay.
        """
        whole: Any = model.module if is_model_wrapper(model) else model
        parts = dict(whole.named_children())
        if missing := [name for name in PARTS if name not in parts]:
            raise UserError(f'{type(whole).__name__} has no {" and no ".join(missing)} to build an optimizer for.')
        return OptimWrapperDict(
            **{
                name: LayerDecayOptimWrapperConstructor(
                    copy.deepcopy(self.optim_wrapper_cfg), copy.deepcopy(self.paramwise_cfg)
                )(parts[name])
                for name in PARTS
            }
        )
