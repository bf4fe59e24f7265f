"""Times a whole Mask R-CNN and UperNet with our backbone against the same with every other ConvNeXt at hand.

The model is that of a config, and only its backbone is exchanged. All backbones have the same weights, so the maps and
the loss must be the same, which is checked. Images, boxes and masks are made up, and every step draws the same random
numbers. On a GPU the protocol is that of benchmarks/gpu.py. If several sizes are given, as a detector has them in
training, each step takes the next one. With --out the figures also go to a JSON file, from which benchmarks/report.py
writes docs/speed.md.
"""

import argparse
import copy
import itertools
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS as DETECTORS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from benchmarks import arguments, gpu, timing
from benchmarks.backbone import DEPLOYED, OURS, REFERENCE, Reference, check_equal, print_table, with_random_weights
from benchmarks.peers import PEERS
from mmconvnext.config import machine
from mmconvnext.config.prepare import load_config
from mmconvnext.config.reading import is_segmentation
from mmconvnext.deploy import deploy
from mmconvnext.errors import errors_as_sentences
from mmconvnext.kernels.dispatch import MEMORY

OBJECTS = 8  # in an image
# Relative difference of losses: by rounding, another proposal may pass a threshold and be sampled
TOLERANCE = 0.01


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='such as configs/detection/mask_rcnn_convnext_t_3x.py')
    parser.add_argument('--sizes', nargs='+', type=arguments.size, default=[(800, 1344)], metavar='HEIGHT[xWIDTH]')
    parser.add_argument('--device', default='cpu', choices=('cpu', 'cuda'))
    parser.add_argument('--precision', default='fp32', choices=('fp32', 'amp-bf16', 'amp-fp16'))
    parser.add_argument('--modes', nargs='+', default=['inference', 'training'], choices=('inference', 'training'))
    parser.add_argument(
        '--batch', type=arguments.count, help='default: 1, or 2 for a segmentor, whose BatchNorm needs two'
    )
    parser.add_argument('--rounds', type=arguments.count, default=5)
    parser.add_argument('--steps', type=arguments.count, default=20, help='steps of each turn on a GPU (default: 20)')
    names = [peer.name for peer in PEERS]
    parser.add_argument('--peers', nargs='*', default=names, choices=names, help='whom to compare with (default: all)')
    parser.add_argument('--out', type=arguments.results, help='append the figures to this JSON file')
    return parser.parse_args()


def main() -> None:
    """Measures and prints one table for each mode."""
    args = parse_args()
    if args.device == 'cuda' and not torch.cuda.is_available():
        sys.exit('error: --device cuda needs a GPU that PyTorch can use.')
    facts = timing.machine() if args.device == 'cpu' else gpu.machine()
    arguments.check_setting(args.out, facts)
    print(', '.join(f'{key} {value}' for key, value in facts.items()))
    for mode in args.modes:
        result = measure(args, mode)
        (print_table if args.device == 'cpu' else gpu.print_table)(result)
        if args.out:
            timing.append(args.out, [{**result, 'machine': facts}])


def measure(args: argparse.Namespace, mode: str) -> dict[str, Any]:
    """Times the model with every backbone; returns figures in seconds."""
    with errors_as_sentences():
        cfg = load_config(args.config)
    cfg.launcher = 'none'
    machine.adapt(cfg)
    on_gpu = args.device == 'cuda'
    models = contenders(cfg, mode, args.peers, on_gpu)
    count = args.batch or 1 + is_segmentation(cfg)
    batches = [batch(cfg, count, height, width, device_of(on_gpu)) for height, width in args.sizes]
    check_equal({name: model.backbone for name, model in models.items()}, batches[0][0], 1e-3 if on_gpu else 1e-4)
    check_equal_losses(models, *batches[0])
    amp = gpu.PRECISIONS[args.precision][1]

    def turn(model: nn.Module) -> Callable[[], None]:
        following = itertools.cycle(batches)

        def run() -> None:
            with nullcontext() if amp is None else torch.autocast(device_of(on_gpu), dtype=amp):
                step(model, *next(following), mode)

        return run

    runs = {name: turn(model) for name, model in models.items()}
    rows: dict[str, dict[str, Any]] = {name: {} for name in runs}
    if not on_gpu:
        times = timing.interleaved(runs, args.rounds * len(batches))
    else:
        for name, run in runs.items():
            rows[name] = {'first_seconds': gpu.first_seconds(run)}
        times = gpu.interleaved(runs, args.rounds, args.steps * len(batches))
        for name, run in runs.items():
            rows[name].update(peak=max(gpu.peak(run) for _ in batches), **gpu.launches(run))
    for name, measured in times.items():
        rows[name].update(seconds=measured.median, spread=measured.spread)
    heights, widths = ('/'.join(map(str, lengths)) for lengths in zip(*args.sizes))
    return {
        'model': Path(args.config).stem,
        'mode': mode,
        'dtype': args.precision,
        'input': [count, 3, heights, widths],
        'rows': rows,
    }


def device_of(on_gpu: bool) -> str:
    """Returns the device of all tensors."""
    return gpu.DEVICE if on_gpu else 'cpu'


def contenders(cfg: Config, mode: str, peers: Sequence[str], on_gpu: bool) -> dict[str, nn.Module]:
    """Returns the model with our backbone, and with those of the given peers."""
    torch.manual_seed(0)
    cfg.model.backbone.update(init_cfg=None, drop_path_rate=0.0)
    registry = MODELS if is_segmentation(cfg) else DETECTORS
    with registry.switch_scope_and_registry(cfg.default_scope):
        ours = registry.build(cfg.model)
    logging.disable(logging.INFO)  # MMEngine logs how each parameter was initialized
    ours.init_weights()
    logging.disable(logging.NOTSET)
    with_random_weights(ours.backbone)
    models = {OURS: ours, REFERENCE: _with_backbone(ours, Reference(copy.deepcopy(ours.backbone)))}
    if on_gpu:
        for memory in MEMORY if mode == 'training' else ('balanced',):
            name = f'mmconvnext, triton, {memory}'
            models[name] = _with_backbone(ours, gpu.Ours(copy.deepcopy(ours.backbone), 'triton', memory))
    for peer in PEERS:
        if peer.name in peers and ours.backbone.version in peer.versions:
            try:
                models[peer.name] = _with_backbone(ours, peer.build(ours.backbone))
            except ImportError as error:
                print(f'left out: {peer.name} ({error})')
    if mode == 'inference':
        models[DEPLOYED] = copy.deepcopy(ours)
    for model in models.values():
        model.to(device_of(on_gpu)).train(mode == 'training')
    if mode == 'inference':
        models[DEPLOYED].backbone = deploy(models[DEPLOYED].backbone)
    return models


def _with_backbone(model: nn.Module, backbone: nn.Module) -> nn.Module:
    model = copy.deepcopy(model)
    model.backbone = backbone
    return model


def batch(cfg: Config, count: int, height: int, width: int, device: str) -> tuple[Tensor, list]:
    """Returns random images (count, 3, height, width), float32, and ground truth for each."""
    rng = np.random.default_rng(0)
    inputs = torch.from_numpy(rng.standard_normal((count, 3, height, width), dtype=np.float32))
    shape = dict(img_shape=(height, width), ori_shape=(height, width), pad_shape=(height, width))
    shape |= dict(batch_input_shape=(height, width), scale_factor=(1.0, 1.0))
    samples: list = []
    for _ in range(count):
        if is_segmentation(cfg):
            labels = torch.from_numpy(rng.integers(0, 150, (1, height, width)))
            samples.append(SegDataSample(metainfo=shape, gt_sem_seg=PixelData(data=labels)))
            continue
        corners = rng.uniform(0, 0.7, (OBJECTS, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(0.05, 0.3, (OBJECTS, 2))], 1)
        boxes *= [width, height, width, height]
        masks = np.zeros((OBJECTS, height, width), np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int)):
            mask[top:bottom, left:right] = 1
        truth = InstanceData(
            bboxes=torch.from_numpy(boxes).float(),
            labels=torch.from_numpy(rng.integers(0, 80, OBJECTS)),
            masks=BitmapMasks(masks, height, width),
        )
        ignored = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        samples.append(DetDataSample(metainfo=shape, gt_instances=truth, ignored_instances=ignored))
    return inputs.to(device), [sample.to(device) for sample in samples]


def check_equal_losses(models: dict[str, nn.Module], inputs: Tensor, samples: list) -> None:
    """Checks that all models compute the same.

    Raises:
        ValueError: If a model's loss differs from the reference's by more than rounding explains.
    """
    losses = {}
    for name, model in models.items():
        torch.manual_seed(0)
        with torch.no_grad():
            losses[name] = float(model.parse_losses(model.loss(inputs, copy.deepcopy(samples)))[0])
    expected = losses[REFERENCE]
    for name, loss in losses.items():
        if not abs(loss - expected) <= TOLERANCE * abs(expected):
            raise ValueError(f'{name}: the loss is {loss}, but with the reference it is {expected}.')


def step(model: nn.Module, inputs: Tensor, samples: list, mode: str) -> None:
    """Runs a forward and backward pass, or a prediction."""
    torch.manual_seed(0)
    samples = copy.deepcopy(samples)
    if mode == 'inference':
        with torch.inference_mode():
            model.predict(inputs, samples)
        return
    model.zero_grad(set_to_none=True)
    loss, _ = model.parse_losses(model.loss(inputs, samples))
    loss.backward()


if __name__ == '__main__':
    main()
