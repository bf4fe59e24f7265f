"""Joins the processes that a launcher started, and parts them when nothing is left to do together."""

import gc
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, init_dist, is_distributed, is_main_process
from mmengine.runner import Runner

from mmconvnext.checkpoints.load import unwrap
from mmconvnext.errors import UserError

Result = TypeVar('Result')

# What MMEngine reads from the environment to find the other processes
LAUNCHERS = {
    'none': ((), ''),
    'pytorch': (('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'), 'torchrun, or tools/dist_train.sh'),
    'slurm': (('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'), 'srun, or tools/slurm_train.sh'),
}


def join(cfg: Config) -> None:
    """Joins the processes that a launcher started, unless they are joined.

    Raises:
        UserError: If the launcher's environment is not there.
    """
    variables, starter = LAUNCHERS[cfg.launcher]
    missing = [name for name in variables if name not in os.environ]
    if missing:
        raise UserError(
            f'--launcher {cfg.launcher}: {", ".join(missing)} is not set in the environment, as {starter} would. Start '
            'the program with that, or leave --launcher out to run one process.',
            missing=missing,
        )
    if cfg.launcher == 'none' or is_distributed():
        return
    if cfg.launcher == 'pytorch' and not torch.cuda.is_available():  # MMEngine wants a GPU
        torch.distributed.init_process_group(cfg.env_cfg.dist_cfg.backend)
    else:
        init_dist(cfg.launcher, **cfg.env_cfg.dist_cfg)


def first(work: Callable[[], Result]) -> Result:
    """Returns what the first of several processes worked out, in all of them.

    If it raises there, the other processes exit with status 2: one message is enough.

    Args:
        work: What the first process does. Its result can be pickled.
    """
    if not is_distributed():
        return work()
    outcome: list[Any] = [None, False]
    if is_main_process():
        try:
            outcome = [work(), True]
        finally:
            broadcast_object_list(outcome)
            if not outcome[1]:
                torch.distributed.destroy_process_group()
    else:
        broadcast_object_list(outcome)
        if not outcome[1]:
            torch.distributed.destroy_process_group()
            sys.exit(2)
    return outcome[0]


def part(runner: Runner) -> None:
    """Ends what joined the processes, when nothing is left to do together.

    Left to the interpreter's end, gloo's threads may still run while it is torn down, which aborts the process after
    all work is done, and torchrun calls that a failure.
    """
    if is_distributed():
        runner.model = unwrap(runner.model)  # the wrapper would keep the processes' group alive
        gc.collect()
        torch.distributed.destroy_process_group()
