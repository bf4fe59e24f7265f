"""Sets up the process group of a launcher's processes, shares results in it, and ends it."""

import gc
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, init_dist, is_distributed, is_main_process

from mmconvnext.checkpoints.load import unwrap
from mmconvnext.errors import UserError

Result = TypeVar('Result')

# The environment variables by which MMEngine finds the other processes, and the programs that set them
LAUNCHERS = {
    'none': ((), ''),
    'pytorch': (('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'), 'torchrun, or tools/dist_train.sh'),
    'slurm': (('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'), 'srun, or tools/slurm_train.sh'),
}


def join(cfg: Config) -> None:
    """Sets up the process group of a launcher's processes, unless it exists.

    Raises:
        UserError: If the launcher's environment is not there.
    """
    variables, starter = LAUNCHERS[cfg.launcher]
    missing = [name for name in variables if name not in os.environ]
    if missing:
        raise UserError(
            f'--launcher {cfg.launcher}: {", ".join(missing)} is not set in the environment. Start the program with '
            f'{starter}, which sets it, or leave --launcher out to run one process.',
            missing=missing,
        )
    if cfg.launcher == 'none' or is_distributed():
        return
    if cfg.launcher == 'pytorch' and not torch.cuda.is_available():  # MMEngine's init_dist needs a GPU
        torch.distributed.init_process_group(cfg.env_cfg.dist_cfg.backend)
    else:
        init_dist(cfg.launcher, **cfg.env_cfg.dist_cfg)


def on_first(work: Callable[[], Result]) -> Result:
    """Runs ``work`` on the first process and returns its result on all of them.

    If it raises, the other processes exit with status 2, so that only one prints the message.

    Args:
        work: A function whose result can be pickled.
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


def leave(runner: Any) -> None:
    """Destroys the process group after the last work that the processes do together.

    If it is left to the end of the interpreter, gloo's threads may still run while the interpreter is torn down. That
    aborts the process although all work is done, and torchrun reports a failure.
    """
    if is_distributed():
        runner.model = unwrap(runner.model)  # the wrapper keeps the process group alive
        gc.collect()
        torch.distributed.destroy_process_group()
