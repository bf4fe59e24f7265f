"""Times contenders in rounds in which each has its turn, and says what the machine is."""

import gc
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

MEMORY_RESET = Path('/proc/self/clear_refs')
IDENTITY = ('model', 'mode', 'dtype', 'input')  # these tell one result from another


@dataclass(frozen=True)
class Time:
    """The seconds of one contender.

    Args:
        median: The median of the rounds.
        spread: The range of the middle half of the rounds, as a share of the median.
    """

    median: float
    spread: float


def interleaved(contenders: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Time]:
    """Times each contender once per round, after one warm-up each, so that a busy machine slows all of them alike."""
    for run in contenders.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    gc.collect()
    gc.freeze()  # otherwise each collection walks through all objects of the process and empties the cache
    for _ in range(rounds):
        for name, run in contenders.items():
            gc.collect()
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    gc.unfreeze()
    return {name: summary(values) for name, values in seconds.items()}


def summary(values: list[float]) -> Time:
    """Returns median and spread of the rounds' seconds."""
    median = statistics.median(values)
    if len(values) < 4:
        return Time(median, (max(values) - min(values)) / median)
    low, _, high = statistics.quantiles(values, n=4)
    return Time(median, (high - low) / median)


def peak_memory(target: Callable[..., None], *args: Any) -> int:
    """Returns the bytes by which a function, run in a process of its own, raises that process's peak memory.

    The function gets a callback as its last argument. It calls this when everything that does not count, such as the
    model's weights, is in memory.
    """
    context = multiprocessing.get_context('spawn')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, target, args))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def _measure(sender: Any, target: Callable[..., None], args: tuple) -> None:
    before = []

    def ready() -> None:
        MEMORY_RESET.write_text('5')  # the peak starts again from here
        before.append(_status('VmRSS'))

    target(*args, ready)
    sender.send(_status('VmHWM') - before[0])


def _status(field: str) -> int:
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


def append(path: Path, results: list[dict[str, Any]]) -> None:
    """Adds results to a JSON file; a result of the same model, mode, dtype and input replaces the old one."""

    def key(result: dict[str, Any]) -> tuple:
        return tuple(str(result[name]) for name in IDENTITY)

    known = json.loads(path.read_text()) if path.is_file() else []
    merged = {key(result): result for result in known + results}
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.resolve()  # otherwise a link would be replaced, and its target left as it was
    unfinished = path.with_name(f'{path.name}.unfinished')
    unfinished.write_text(json.dumps(list(merged.values()), indent=1) + '\n')
    unfinished.replace(path)


def machine() -> dict[str, Any]:
    """Returns processor, threads and versions, which stand beside every figure."""
    names = [line.split(':')[1].strip() for line in _cpuinfo() if line.startswith('model name')]
    flags = next((line for line in _cpuinfo() if line.startswith('flags')), '').split()
    return {
        'processor': names[0] if names else platform.processor(),
        'cores': os.cpu_count(),
        'instructions': [f for f in ('avx2', 'avx512f', 'avx512_bf16', 'amx_bf16') if f in flags],
        'threads': torch.get_num_threads(),
        'torch': torch.__version__,
        'python': platform.python_version(),
    }


def _cpuinfo() -> list[str]:
    path = Path('/proc/cpuinfo')
    return path.read_text().splitlines() if path.is_file() else []
