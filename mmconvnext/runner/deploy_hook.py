"""Folds and packs the backbone's weights before a test."""

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmconvnext.backbones import ConvNeXt
from mmconvnext.kernels.cpu.linear import can_pack

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}


@HOOKS.register_module()
class DeployHook(Hook):
    """Switches every ConvNeXt of the model to its form for inference, when its weights are there.

    Args:
        dtype: What all but the output norms compute in, ``fp32`` or ``bf16``.
    """

    priority = 'VERY_LOW'  # averaged weights come before the test's epoch, too

    def __init__(self, dtype: str) -> None:
        self.dtype = DTYPES[dtype]

    def before_test_epoch(self, runner: Runner) -> None:
        """Switches them, which also puts them into eval mode."""
        for module in runner.model.modules():
            if isinstance(module, ConvNeXt):
                module.switch_to_deploy(self.dtype)
                on_cpu = next(module.parameters()).device.type == 'cpu'
                if on_cpu and self.dtype == torch.bfloat16 and not can_pack(self.dtype):
                    runner.logger.warning('This CPU has no fast products in bfloat16; fp32 may take less time.')
