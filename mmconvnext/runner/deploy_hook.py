"""Deploys the backbone for a test."""

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from mmconvnext.backbones import ConvNeXt
from mmconvnext.deploy import deploy
from mmconvnext.errors import UserError
from mmconvnext.kernels.cpu.linear import can_pack

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}


@HOOKS.register_module()
class DeployHook(Hook):
    """Replaces every ConvNeXt by its :func:`~mmconvnext.deploy.deploy` for the test, and puts it back afterwards.

    Args:
        dtype: The dtype that everything except the output norms computes in, ``fp32`` or ``bf16``.
    """

    priority = 'VERY_LOW'  # after hooks that exchange the parameters before a test, as EMAHook does

    def __init__(self, dtype: str) -> None:
        self.dtype = DTYPES[dtype]
        self.originals: list[tuple[nn.Module, str, ConvNeXt]] = []

    def before_test_epoch(self, runner: Runner) -> None:
        """Replaces every ConvNeXt of the model, including those inside wrappers.

        Raises:
            UserError: If there is none.
        """
        deployed: dict[ConvNeXt, nn.Module] = {}  # a shared backbone stays shared
        for path, module in [*runner.model.named_modules(remove_duplicate=False)]:
            if isinstance(module, ConvNeXt):
                parent, _, name = path.rpartition('.')
                deployed[module] = deployed.get(module) or deploy(module, self.dtype)
                self.originals.append((runner.model.get_submodule(parent), name, module))
                setattr(*self.originals[-1][:2], deployed[module])
                on_cpu = next(module.parameters()).device.type == 'cpu'
                if on_cpu and self.dtype == torch.bfloat16 and not can_pack(self.dtype):
                    runner.logger.warning('This CPU has no fast matrix products in bfloat16, so fp32 may be faster.')
        if not self.originals:
            raise UserError(
                f'--fuse folds the blocks of a ConvNeXt, and {type(runner.model).__name__} has none. Leave it out.'
            )

    def after_test_iter(self, runner: Runner, batch_idx: int, *args, **kwargs) -> None:
        """Puts the ConvNeXts back after the last batch, before EMAHook exchanges the model's parameters again."""
        if self.end_of_epoch(runner.test_dataloader, batch_idx):
            for parent, name, module in self.originals:
                setattr(parent, name, module)
            self.originals.clear()
