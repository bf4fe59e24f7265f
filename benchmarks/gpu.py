"""Times our backbone against every other ConvNeXt on a GPU: inference, and a training step's forward and backward.

The protocol is that of benchmarks/backbone.py: all contenders have the same weights and outputs, which is checked. Each
has its turn in every round, and medians and spreads are reported. CUDA events around many steps measure the time, so
launches overlap with work as they do in training. The tables also have the seconds of the first step, which includes
compilation, the launches and their time by kind of kernel, and the memory. Every contender runs layer by layer, and as
a CUDA graph of the whole step. timm, torchvision and ours also run through torch.compile, so that no peer is shown
slower than it can be.
"""

import argparse
import copy
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks import arguments, timing
from benchmarks.backbone import REFERENCE, check_equal, infer, saved_activations, train_step, with_random_weights
from benchmarks.peers import PEERS
from mmconvnext import ConvNeXt, kernels
from mmconvnext.backbones.sizes import ARCHS
from mmconvnext.kernels.dispatch import KernelPath, Memory

DEVICE = 'cuda'
PRECISIONS = {
    'amp-bf16': (torch.float32, torch.bfloat16),
    'amp-fp16': (torch.float32, torch.float16),
    'bf16': (torch.bfloat16, None),
    'fp32': (torch.float32, None),
}
# Kinds of kernels, by what their names contain. The first match counts
KINDS = {
    'depthwise': r'_depthwise|conv_depthwise|depthwise|(conv|dgrad|wgrad)2d_c1',
    'LayerNorm + MLP': r'_norm_mlp',
    'product': r'gemm|cutlass|nvjet|xmma|cublas|splitk|conv|implicit',
    'LayerNorm': r'layer_?norm',
    'copy or cast': r'copy|memcpy|memset|transpose|nchwtonhwc|nhwctonchw',
    'reduction': r'reduce|norm|triton_(red|per)',
    'elementwise': r'elementwise|vectorized|triton_poi|foreach',
}


class Ours(nn.Module):
    """Our backbone, computed by one path of its kernels."""

    def __init__(self, backbone: nn.Module, path: KernelPath, memory: Memory = 'balanced') -> None:
        super().__init__()
        self.backbone, self.path, self.memory = backbone, path, memory

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Returns the four maps."""
        with kernels.use(self.path, self.memory):
            return self.backbone(x)


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--arch', default='tiny', choices=ARCHS, metavar='ARCH', help='size name (default: tiny)')
    parser.add_argument('--version', type=int, default=1, choices=(1, 2))
    parser.add_argument(
        '--sizes', nargs='+', type=arguments.size, default=[(800, 1344), (512, 512)], metavar='HEIGHT[xWIDTH]'
    )
    parser.add_argument('--modes', nargs='+', default=['inference', 'training'], choices=('inference', 'training'))
    parser.add_argument('--precision', default='amp-bf16', choices=PRECISIONS)
    parser.add_argument('--batch', type=arguments.count, default=2)
    parser.add_argument('--rounds', type=arguments.count, default=5)
    parser.add_argument('--steps', type=arguments.count, default=50, help='steps of each turn (default: 50)')
    parser.add_argument('--no-compile', action='store_true', help='leave torch.compile out, for a quick look')
    parser.add_argument(
        '--cudnn-benchmark', action='store_true', help="let cuDNN choose by measuring, as OpenMMLab's configs do"
    )
    parser.add_argument('--out', type=arguments.results, help='append the figures to this JSON file')
    return parser.parse_args()


def main() -> None:
    """Measures and prints one table for each size and mode."""
    args = parse_args()
    if not torch.cuda.is_available():
        sys.exit('error: this benchmark needs a GPU that PyTorch can use; benchmarks.backbone measures the CPU.')
    torch.backends.cudnn.benchmark = args.cudnn_benchmark
    # All contenders of a kind share code, and Dynamo would fall back to eager once there are more than 8 of them
    torch._dynamo.config.recompile_limit = 64
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    here = machine()
    arguments.check_setting(args.out, here)
    print(', '.join(f'{key} {value}' for key, value in here.items()))
    for mode in args.modes:
        for size in args.sizes:
            torch.compiler.reset()
            result = {**measure(args, mode, size), 'machine': here}
            print_table(result)
            if args.out:
                timing.append(args.out, [result])


def machine() -> dict[str, Any]:
    """Returns GPU, clocks and versions, which stand beside every figure."""
    import triton

    query = ['nvidia-smi', '--query-gpu=driver_version,clocks.sm,clocks.mem,power.limit', '--format=csv,noheader']
    smi = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    driver, *clocks = smi[torch.cuda.current_device()].split(', ')
    return {
        'gpu': torch.cuda.get_device_name(),
        'driver': driver,
        'clocks and power limit': ' '.join(clocks),
        'torch': torch.__version__,
        'cudnn': torch.backends.cudnn.version(),
        'triton': triton.__version__,
    }


def measure(args: argparse.Namespace, mode: str, size: tuple[int, int]) -> dict[str, Any]:
    """Measures every contender at one size; returns figures in seconds and bytes."""
    dtype, amp = PRECISIONS[args.precision]
    x = torch.randn(args.batch, 3, *size, device=DEVICE, dtype=dtype)
    models = contenders(args, mode, dtype)
    step = train_step if mode == 'training' else infer

    def run(model: nn.Module) -> None:
        with autocast(amp):
            step(model, x)

    with autocast(amp):
        check_equal(models, x, 1e-3 if args.precision == 'fp32' else 0.1)
    runs: dict[str, Callable[[], Any]] = {name: partial(run, model) for name, model in models.items()}
    rows: dict[str, dict[str, Any]] = {}
    for name, model in models.items():
        seconds = first_seconds(runs[name])
        # CUDA graphs have reserved their memory before, so their peak cannot be measured
        memory = {} if 'compile' in name and 'default' not in name else {'peak': peak(runs[name])}
        if mode == 'training' and 'compile' not in name:
            with autocast(amp):
                memory['saved'] = saved_activations(model, x)
        rows[name] = {'first_seconds': seconds, **memory}
        if 'compile' not in name:
            graph = f'{name}, CUDA graph'
            start = time.perf_counter()
            runs[graph] = captured(runs[name])
            rows[graph] = {'first_seconds': time.perf_counter() - start}
    for name, measured in interleaved(runs, args.rounds, args.steps).items():
        rows[name].update(seconds=measured.median, spread=measured.spread, **launches(runs[name]))
    return {
        'model': f'ConvNeXt V{args.version} {args.arch}',
        'mode': mode,
        'dtype': args.precision + (', cudnn.benchmark' if args.cudnn_benchmark else ''),
        'input': list(x.shape),
        'rows': rows,
    }


def contenders(args: argparse.Namespace, mode: str, dtype: torch.dtype) -> dict[str, nn.Module]:
    """Returns all implementations with the same random weights, none of which is without effect."""
    torch.manual_seed(0)
    ours = ConvNeXt(args.arch, version=args.version, layer_scale_init_value=1.0 if args.version == 1 else None)
    with_random_weights(ours)
    models: dict[str, nn.Module] = {REFERENCE: Ours(copy.deepcopy(ours), 'reference')}
    memories: tuple[Memory, ...] = ('speed', 'balanced', 'min') if mode == 'training' else ('balanced',)
    for memory in memories:
        name = f'mmconvnext, triton, {memory}' if mode == 'training' else 'mmconvnext, triton'
        models[name] = Ours(copy.deepcopy(ours), 'triton', memory)
    for peer in PEERS:
        if args.version in peer.versions:
            try:
                models[peer.name] = peer.build(ours)
            except ImportError as error:
                print(f'left out: {peer.name} ({error})')
    if not args.no_compile:
        eager = {name: models[name] for name in ('timm', 'torchvision') if name in models}
        for compile_mode in ('default', 'max-autotune', 'reduce-overhead'):
            for name, model in eager.items():
                models[f'{name}, torch.compile, {compile_mode}'] = compiled(copy.deepcopy(model), compile_mode)
            paths: tuple[KernelPath, ...] = ('reference', 'triton')
            for path in paths:
                name = f'mmconvnext, {path}, torch.compile, {compile_mode}'
                models[name] = Ours(compiled(copy.deepcopy(ours), compile_mode), path)
    for model in models.values():
        model.to(DEVICE, dtype).train(mode == 'training')
    return models


def compiled(model: nn.Module, mode: str) -> Any:
    """Compiles a model with torch.compile; the mode reduce-overhead replays CUDA graphs."""
    return torch.compile(model, mode=mode)


def autocast(dtype: torch.dtype | None) -> AbstractContextManager:
    """Returns a context for mixed precision in this dtype; None is no mixed precision."""
    return nullcontext() if dtype is None else torch.autocast(DEVICE, dtype=dtype)


def first_seconds(run: Callable[[], Any]) -> float:
    """Returns the seconds of the first step, including compilation."""
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def captured(run: Callable[[], Any]) -> Callable[[], None]:
    """Captures a step in a CUDA graph, which launches all of its kernels at once; returns its replay."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # libraries initialize here, which is not allowed while capturing
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def interleaved(contenders: Mapping[str, Callable[[], Any]], rounds: int, steps: int) -> dict[str, timing.Time]:
    """Returns each contender's seconds per step, between CUDA events around many steps, after 20 steps of warm-up."""
    for run in contenders.values():
        for _ in range(20):
            run()
    seconds: dict[str, list[float]] = defaultdict(list)
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for _ in range(rounds):
        for name, run in contenders.items():
            torch.cuda.synchronize()
            start.record()
            for _ in range(steps):
                run()
            stop.record()
            stop.synchronize()
            seconds[name].append(start.elapsed_time(stop) / 1e3 / steps)
    return {name: timing.summary(values) for name, values in seconds.items()}


def launches(run: Callable[[], Any]) -> dict[str, Any]:
    """Returns the number of kernels in one step, the GPU's seconds in them, and the seconds by kind."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
        run()
        torch.cuda.synchronize()
    kinds: dict[str, float] = defaultdict(float)
    count = 0
    for event in recorded.events():
        # Annotations, such as those of torch.compile, span kernels that are listed themselves
        if event.device_type == torch.autograd.DeviceType.CUDA and not event.is_user_annotation:
            count += 1
            kinds[kind_of(event.name)] += event.time_range.elapsed_us() / 1e6
    return {'launches': count, 'gpu_seconds': sum(kinds.values()), 'kinds': dict(kinds)}


def kind_of(kernel: str) -> str:
    """Returns the kind of a kernel by its name."""
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, kernel, re.IGNORECASE)), 'other')


def peak(run: Callable[[], Any]) -> int:
    """Returns the bytes by which a step raises the allocated memory at its peak."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def print_table(result: dict[str, Any]) -> None:
    """Prints one size and mode."""
    shape = 'x'.join(map(str, result['input']))
    print(f'\n{result["model"]}, {result["mode"]}, {result["dtype"]}, {shape}')
    best = min(row['seconds'] for name, row in result['rows'].items() if name.startswith('mmconvnext'))
    for name, row in sorted(result['rows'].items(), key=lambda item: item[1]['seconds']):
        line = f'{name:52s} {1e3 * row["seconds"]:8.2f} ms +-{row["spread"]:4.0%} {row["seconds"] / best:6.2f}x'
        line += f'  GPU {1e3 * row["gpu_seconds"]:7.2f} ms in {row["launches"]:4d} launches'
        line += f'  first {row["first_seconds"]:5.1f} s'
        for key in ('peak', 'saved'):
            if key in row:
                line += f'  {key} {row[key] / 2**20:6.0f} MiB'
        print(line)
        kinds = sorted(row['kinds'].items(), key=lambda item: -item[1])
        print('    ' + ', '.join(f'{kind} {1e3 * seconds:.2f}' for kind, seconds in kinds))


if __name__ == '__main__':
    main()
