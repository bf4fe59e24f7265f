"""Joins the processes that a launcher started, and parts them when nothing is left to do together."""

import gc

import torch
from mmengine.config import Config
from mmengine.dist import is_distributed
from mmengine.runner import Runner

from mmconvnext.checkpoints.load import unwrap


def join(cfg: Config) -> None:
    """Joins the processes that torchrun started on machines without a GPU; elsewhere MMEngine does."""
    if cfg.launcher == 'pytorch' and not torch.cuda.is_available() and not is_distributed():
        torch.distributed.init_process_group(cfg.env_cfg.dist_cfg.backend)


def part(runner: Runner) -> None:
    """Ends what joined the processes, when nothing is left to do together.

    Left to the interpreter's end, gloo's threads may still run while it is torn down, which aborts the process after
    all work is done, and torchrun calls that a failure.
    """
    if is_distributed():
        runner.model = unwrap(runner.model)  # the wrapper would keep the processes' group alive
        gc.collect()
        torch.distributed.destroy_process_group()
