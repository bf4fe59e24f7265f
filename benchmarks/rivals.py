"""Times Mask R-CNN or UperNet with ConvNeXt and with every rival of configs/peers, and measures their peak memory.

Each model is that of its config, with random weights. All have the same made-up images and objects and take turns in
rounds. Where configs differ only in weights, one of them is measured. With --out the figures also go to a JSON file in
benchmarks/results/rivals, from which tools/verify_zoo.py writes docs/rivals.md.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from benchmarks import arguments, gpu, timing
from benchmarks.detector import batch, device_of, step
from mmconvnext.config import machine
from mmconvnext.config.backbone import find_backbone
from mmconvnext.config.prepare import load_config
from mmconvnext.errors import errors_as_sentences

CONFIGS = Path(__file__).parent.parent / 'configs'
CONVNEXTS = {
    'mask_rcnn': ('detection/mask_rcnn_convnext_t_3x.py',),
    'upernet': tuple(f'segmentation/upernet_convnext_{size}_160k.py' for size in 'tsb'),
}
SIZES = {'mask_rcnn': (800, 1344), 'upernet': (512, 512)}
PRECISIONS = {'fp32': None, 'amp-bf16': torch.bfloat16, 'amp-fp16': torch.float16}


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('heads', choices=CONVNEXTS, help='which heads are on the backbones')
    parser.add_argument(
        '--size', type=arguments.size, metavar='HEIGHT[xWIDTH]', help='default: 800x1344, or 512x512 for UperNet'
    )
    parser.add_argument('--device', default='cpu', choices=('cpu', 'cuda'))
    parser.add_argument('--precision', default='fp32', choices=PRECISIONS)
    parser.add_argument('--modes', nargs='+', default=['inference', 'training'], choices=('inference', 'training'))
    parser.add_argument('--batch', type=arguments.count, default=2)
    parser.add_argument('--rounds', type=arguments.count, default=5)
    parser.add_argument('--steps', type=arguments.count, default=20, help='steps of each turn on a GPU (default: 20)')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='configs whose names contain one of these')
    parser.add_argument('--out', type=arguments.results, help='append the figures to this JSON file')
    return parser.parse_args()


def main() -> None:
    """Measures and prints one table for each mode."""
    args = parse_args()
    args.size = args.size or SIZES[args.heads]
    if args.device == 'cuda' and not torch.cuda.is_available():
        sys.exit('error: --device cuda needs a GPU that PyTorch can use.')
    if args.device == 'cpu':
        arguments.check_memory()
    facts = timing.machine() if args.device == 'cpu' else gpu.machine()
    arguments.check_setting(args.out, facts)
    configs = chosen(args.heads, args.only)
    if not configs:
        sys.exit(f'error: no config has {" or ".join(args.only)} in its name.')
    print(', '.join(f'{key} {value}' for key, value in facts.items()))
    for mode in args.modes:
        result = measure(args, configs, mode)
        print_table(result)
        if args.out:
            timing.append(args.out, [{**result, 'machine': facts}])


def chosen(heads: str, only: list[str] | None = None) -> list[Path]:
    """Returns the configs with these heads; one of those that differ only in their weights.

    Args:
        heads: ``mask_rcnn`` or ``upernet``.
        only: Parts of names of configs to choose; None chooses all.
    """
    peers = [path for path in sorted((CONFIGS / 'peers').glob(f'{heads}_*.py')) if 'noisy_student' not in path.stem]
    paths = [*(CONFIGS / path for path in CONVNEXTS[heads]), *peers]
    return [path for path in paths if only is None or any(part in path.stem for part in only)]


def measure(args: argparse.Namespace, configs: list[Path], mode: str) -> dict[str, Any]:
    """Times every model; returns figures in seconds and bytes."""
    on_gpu = args.device == 'cuda'
    runs = {path.stem: turn(path, args, mode) for path in configs}
    rows: dict[str, dict[str, Any]] = {name: {} for name in runs}
    if on_gpu:
        times = gpu.interleaved(runs, args.rounds, args.steps)
        for name, run in runs.items():
            rows[name]['peak'] = gpu.peak(run)
    else:
        times = timing.interleaved(runs, args.rounds)
        for path in configs:
            rows[path.stem]['peak'] = timing.peak_memory(_peak, path, args, mode)
    for name, measured in times.items():
        rows[name].update(seconds=measured.median, spread=measured.spread)
    return {
        'model': args.heads,
        'mode': mode,
        'dtype': args.precision,
        'input': [args.batch, 3, *args.size],
        'rows': rows,
    }


def turn(path: Path, args: argparse.Namespace, mode: str) -> Callable[[], None]:
    """Returns a function that runs a training step or a prediction of a config's model, on its own copy of the images.

    Args:
        path: The config.
        args: The command line's.
        mode: ``inference`` or ``training``.
    """
    with errors_as_sentences():
        cfg = load_config(path)
    cfg.launcher = 'none'
    machine.adapt(cfg)
    device = device_of(args.device == 'cuda')
    model = build(cfg).to(device).train(mode == 'training')
    inputs, samples = batch(cfg, args.batch, *args.size, device)
    amp = PRECISIONS[args.precision]

    def run() -> None:
        with nullcontext() if amp is None else torch.autocast(device, dtype=amp):
            step(model, inputs, samples, mode)

    return run


def build(cfg: Config) -> nn.Module:
    """Builds the model with random weights, and without stochastic depth, which would skip work at random."""
    torch.manual_seed(0)
    find_backbone(cfg.model).update(init_cfg=None, drop_path_rate=0.0)
    init_default_scope(cfg.default_scope)
    logging.disable(logging.INFO)  # MMEngine logs how each parameter was initialized
    model: Any = MODELS.build(cfg.model)
    model.init_weights()
    logging.disable(logging.NOTSET)
    _settle_batch_norms(model.backbone)
    return model


@torch.no_grad()
def _settle_batch_norms(backbone: nn.Module) -> None:
    """Gives BatchNorms the statistics of made-up images: with the initial ones, maps would grow from block to block."""
    norms = [module for module in backbone.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = None  # the statistics become those of the one batch
    if norms:
        backbone(torch.randn(4, 3, 64, 96))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum


def print_table(result: dict[str, Any]) -> None:
    """Prints one mode, fastest first."""
    print(f'\n{result["model"]}, {result["mode"]}, {result["dtype"]}, {"x".join(map(str, result["input"]))}')
    for name, row in sorted(result['rows'].items(), key=lambda item: item[1]['seconds']):
        times = f'{1e3 * row["seconds"]:9.1f} ms +-{row["spread"]:4.0%}'
        print(f'{name:40s} {times}  peak {row["peak"] / 2**20:7.0f} MiB')


def _peak(path: Path, args: argparse.Namespace, mode: str, ready: Callable[[], None]) -> None:
    run = turn(path, args, mode)
    ready()
    run()


if __name__ == '__main__':
    main()
