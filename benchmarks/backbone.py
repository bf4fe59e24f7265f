"""Times our backbone against every other ConvNeXt at hand: inference, and a training step's forward and backward.

All have the same weights and return the same four outputs, which is checked. A contender that is not installed is left
out with a message. With --out the figures also go to a JSON file, from which benchmarks/report.py writes docs/speed.md.
"""

import argparse
import copy
import shutil
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import arguments, timing
from benchmarks.peers import PEERS
from mmconvnext import ConvNeXt, kernels
from mmconvnext.backbones.sizes import ARCHS
from mmconvnext.deploy import deploy
from mmconvnext.kernels.cpu.linear import can_pack, prepare_linear

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}
OURS, REFERENCE = 'mmconvnext', 'mmconvnext, reference path'
DEPLOYED = 'mmconvnext, deployed'
REPEATS = 20  # of a matrix product per round, since one takes microseconds


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--arch', default='tiny', choices=ARCHS, metavar='ARCH', help='size name (default: tiny)')
    parser.add_argument('--version', type=int, default=1, choices=(1, 2))
    parser.add_argument(
        '--sizes',
        nargs='+',
        type=arguments.size,
        default=[(320, 320), (512, 512), (800, 800), (800, 1344)],
        metavar='HEIGHT[xWIDTH]',
    )
    parser.add_argument('--modes', nargs='+', default=['inference', 'training'], choices=('inference', 'training'))
    parser.add_argument('--dtype', default='fp32', choices=DTYPES)
    parser.add_argument('--batch', type=arguments.count, default=1)
    parser.add_argument('--rounds', type=arguments.count, default=9)
    parser.add_argument('--threads', type=arguments.count, help='threads of PyTorch (default: its own choice)')
    parser.add_argument('--compile', action='store_true', help='also torch.compile of timm and of ours; needs g++')
    parser.add_argument('--memory', action='store_true', help='also peak memory, each in a process of its own')
    parser.add_argument('--out', type=arguments.results, help='append the figures to this JSON file')
    return parser.parse_args()


def main() -> None:
    """Measures and prints one table for each size and mode."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.compile and not shutil.which('g++'):
        sys.exit('error: --compile needs g++, which torch.compile calls on the CPU.')
    if args.memory:
        arguments.check_memory()
    machine = timing.machine()
    arguments.check_setting(args.out, machine)
    print(', '.join(f'{key} {value}' for key, value in machine.items()))
    for mode in args.modes:
        for size in args.sizes:
            result = measure(args, mode, size)
            print_table(result)
            if args.out:
                timing.append(args.out, [{**result, 'machine': machine}])


def measure(args: argparse.Namespace, mode: str, size: tuple[int, int]) -> dict[str, Any]:
    """Times every contender at one size; returns figures in seconds and bytes."""
    x = torch.randn(args.batch, 3, *size, dtype=DTYPES[args.dtype])
    models = contenders(args, mode)
    check_equal(models, x, 1e-4 if x.dtype == torch.float32 else 0.1)
    step = train_step if mode == 'training' else infer
    times = timing.interleaved({name: lambda m=model: step(m, x) for name, model in models.items()}, args.rounds)
    rows: dict[str, dict[str, float]] = {name: {'seconds': t.median, 'spread': t.spread} for name, t in times.items()}
    for name, model in models.items():
        if mode == 'training':
            rows[name]['saved'] = saved_activations(model, x)
        if args.memory and 'compile' not in name and name != DEPLOYED:  # neither can be sent to another process
            rows[name]['peak'] = timing.peak_memory(_peak, model, x, mode)
    limit = gemm_limit(models[OURS], x) * (3 if mode == 'training' else 1)
    return {
        'model': f'ConvNeXt V{args.version} {args.arch}',
        'mode': mode,
        'dtype': args.dtype,
        'input': list(x.shape),
        'gemm_limit_seconds': limit,
        'rows': rows,
    }


def contenders(args: argparse.Namespace, mode: str) -> dict[str, nn.Module]:
    """Returns all implementations with the same random weights, none of which is without effect."""
    torch.manual_seed(0)
    layer_scale = 1.0 if args.version == 1 else None
    ours = ConvNeXt(args.arch, version=args.version, layer_scale_init_value=layer_scale)
    with_random_weights(ours)
    models: dict[str, nn.Module] = {OURS: copy.deepcopy(ours), REFERENCE: Reference(copy.deepcopy(ours))}
    for peer in PEERS:
        if args.version in peer.versions:
            try:
                models[peer.name] = peer.build(ours)
            except ImportError as error:
                print(f'left out: {peer.name} ({error})')
    if args.compile:
        if 'timm' in models:
            models['timm, torch.compile'] = torch.compile(copy.deepcopy(models['timm']))
        models['mmconvnext, torch.compile'] = torch.compile(copy.deepcopy(ours))
    for model in models.values():
        model.to(DTYPES[args.dtype]).train(mode == 'training')
    if mode == 'inference':
        models[DEPLOYED] = deploy(models[OURS])
    return models


def with_random_weights(backbone: ConvNeXt) -> None:
    """Changes every parameter from its initial value, so that none is without effect."""
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.02 * torch.randn_like(parameter)


class Reference(nn.Module):
    """Our backbone, computed layer by layer."""

    def __init__(self, backbone: ConvNeXt) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Returns the four maps."""
        with kernels.use('reference'):
            return self.backbone(x)


def infer(model: nn.Module, x: Tensor) -> None:
    """Runs a forward pass without gradients."""
    with torch.inference_mode():
        model(x)


def train_step(model: nn.Module, x: Tensor) -> None:
    """Runs a forward and backward pass, with every output in the loss."""
    model.zero_grad(set_to_none=True)
    sum(out.float().square().mean() for out in model(x)).backward()


def check_equal(models: dict[str, nn.Module], x: Tensor, tolerance: float) -> None:
    """Checks that all models compute the same.

    Raises:
        ValueError: If a model's output differs from the reference's by more than rounding.
    """
    with torch.no_grad():
        expected = [out.float().clone() for out in models[REFERENCE](x)]
        for name, model in models.items():
            worst = max(float((a.float() - b).norm() / b.norm()) for a, b in zip(model(x), expected))
            if not worst <= tolerance:
                raise ValueError(f'{name} differs from the reference by {worst:.1e} of its norm.')


def saved_activations(model: nn.Module, x: Tensor) -> int:
    """Returns the bytes that autograd keeps between forward and backward, without parameters."""
    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.layout == torch.strided and tensor.untyped_storage().data_ptr() not in known:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outs = model(x)
    del outs
    return sum(kept.values())


def gemm_limit(backbone: ConvNeXt, x: Tensor) -> float:
    """Returns the seconds of the MLPs' matrix products at the best rate that this machine reaches on any of them."""
    flops, rate = 0.0, 0.0
    for i, (depth, width) in enumerate(zip(backbone.arch.depths, backbone.arch.widths)):
        pixels = x.shape[0] * (x.shape[2] // 4 // 2**i) * (x.shape[3] // 4 // 2**i)
        flops += depth * 16 * pixels * width**2
        rows = torch.randn(min(pixels, 1024), width, dtype=x.dtype)
        weight = torch.randn(4 * width, width, dtype=x.dtype)
        ways: dict[str, Callable[[], Any]] = {'linear': lambda r=rows, w=weight: nn.functional.linear(r, w)}
        if can_pack(x.dtype):
            packed = prepare_linear(weight, None, len(rows), pack=True)
            ways['packed'] = lambda r=rows, p=packed: p(r)
        repeated = {name: lambda w=way: [w() for _ in range(REPEATS)] for name, way in ways.items()}
        with torch.no_grad():
            times = timing.interleaved(repeated, 15)
        rate = max(rate, *(8 * len(rows) * width**2 * REPEATS / t.median for t in times.values()))
    return flops / rate


def _peak(model: nn.Module, x: Tensor, mode: str, ready: Callable[[], None]) -> None:
    ready()
    (train_step if mode == 'training' else infer)(model, x)


def print_table(result: dict[str, Any]) -> None:
    """Prints one size and mode."""
    shape = 'x'.join(map(str, result['input']))
    print(f'\n{result["model"]}, {result["mode"]}, {result["dtype"]}, {shape}')
    ours = min(row['seconds'] for name, row in result['rows'].items() if name.startswith('mmconvnext'))
    for name, row in sorted(result['rows'].items(), key=lambda item: item[1]['seconds']):
        line = f'{name:34s} {1e3 * row["seconds"]:9.1f} ms +-{row["spread"]:4.0%} {row["seconds"] / ours:6.2f}x'
        for key in ('saved', 'peak'):
            if key in row:
                line += f'  {key} {row[key] / 2**20:7.0f} MiB'
        print(line)
    if 'gemm_limit_seconds' in result:
        print(f'{"limit of the matrix products":34s} {1e3 * result["gemm_limit_seconds"]:9.1f} ms')


if __name__ == '__main__':
    main()
