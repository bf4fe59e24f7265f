"""Collects the cost of each step of the road to ConvNeXt, what was published for it, and what it reached here."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmconvnext.backbones import ConvNeXtRoad
from mmconvnext.backbones.road_steps import STEPS, Step
from mmconvnext.config.backbone import find_backbone
from mmconvnext.config.reading import read_config
from mmconvnext.errors import UserError

CLASSES = 1000  # of ImageNet-1K
IMAGE_SIZE = (224, 224)
METRICS = {'coco/bbox_mAP': 'box AP', 'mIoU': 'mIoU'}
PERCENT = {'coco/bbox_mAP': 100.0, 'mIoU': 1.0}  # the factor from each to percent


class Cost(NamedTuple):
    """The cost of a step's classifier: its backbone without output norms, and a linear layer to 1,000 classes.

    Args:
        macs: Multiply-adds of convolutions and linear layers on one image of 224x224.
        params: Number of parameters.
    """

    macs: int
    params: int


class Training(NamedTuple):
    """A finished training of one step.

    Args:
        step: Name of the step.
        kind: What trainings must have in common to be compared: the metric, the data, and the length.
        value: The metric at the end, in percent.
    """

    step: str
    kind: tuple
    value: float


class Row(NamedTuple):
    """A step with its figures.

    Args:
        step: The step.
        cost: What it costs, counted.
        reached: The metric that each training of the step reached, in percent.
    """

    step: Step
    cost: Cost
    reached: tuple[float, ...]


def rows_of(regime: str, runs: Path | None = None) -> tuple[list[Row], str]:
    """Returns the steps in the paper's order, and the name of the trainings' metric; empty if there are none.

    Args:
        regime: ``resnet50`` or ``resnet200``.
        runs: A folder with work directories of trainings, at any depth.

    Raises:
        UserError: If ``runs`` has no training of this regime, one that has not come to its end, or trainings that
            cannot be compared.
    """
    trainings = [] if runs is None else list(_trainings(runs, regime))
    kinds = sorted({training.kind for training in trainings})
    if runs is not None and not kinds:
        raise UserError(f'{runs} has no training of the road from {regime}.', folder=str(runs), regime=regime)
    if len(kinds) > 1:
        listed = '; '.join(f'{metric} on {data} after {length}' for metric, data, length in kinds)
        raise UserError(
            f'the trainings in {runs} cannot be compared: {listed}. Give a folder with those of one kind.',
            folder=str(runs),
            kinds=kinds,
        )
    rows = [
        Row(step, count(step.name, regime), tuple(t.value for t in trainings if t.step == step.name)) for step in STEPS
    ]
    return rows, METRICS[kinds[0][0]] if kinds else ''


@cache
def count(step: str, regime: str) -> Cost:
    """Counts a step's classifier, without allocating it."""
    macs = 0

    def add(module: nn.Module, inputs: tuple[Tensor], out: Tensor) -> None:
        nonlocal macs
        weight = module.get_parameter('weight')
        macs += out.numel() // len(weight) * weight.numel()

    with torch.device('meta'):
        backbone = ConvNeXtRoad(step, regime).eval()
        for module in backbone.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(add)
        with torch.no_grad():
            backbone(torch.empty(1, 3, *IMAGE_SIZE))
    channels = backbone.out_channels[-1]
    params = sum(p.numel() for name, p in backbone.named_parameters() if not name.startswith('norm'))
    if backbone.design.is_convnext:  # a ConvNeXt has a norm after the pooling
        params += 2 * channels
    return Cost(macs + CLASSES * channels, params + CLASSES * (channels + 1))


def table(regime: str, rows: list[Row], metric: str = '') -> str:
    """Returns the figures as a table in Markdown. Trainings have their mean, then the lowest and the highest."""
    head = ['step', 'in figure 2', 'top-1, published', 'MACs, published', 'MACs, counted', 'parameters']
    lines = [[*head, *([f'{metric}, here'] if metric else [])]]
    lines.append(['---'] * len(lines[0]))
    for step, cost, reached in rows:
        published = step.published(regime)
        cells = [f'`{step.name}`', step.label, f'{published.top1:.2f}', f'{published.macs:.2f} G']
        cells += [f'{cost.macs / 1e9:.2f} G', f'{cost.params / 1e6:.2f} M']
        lines.append([*cells, *([_spread(reached)] if metric else [])])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _spread(values: tuple[float, ...]) -> str:
    if not values:
        return '-'
    mean = f'{sum(values) / len(values):.1f}'
    return mean if len(values) == 1 else f'{mean} ({min(values):.1f} to {max(values):.1f}, {len(values)} runs)'


def _trainings(folder: Path, regime: str) -> Iterator[Training]:
    """Yields the trainings of a regime in a folder. Each work directory gives the one that was started last."""
    if not folder.is_dir():
        raise UserError(f'there is no folder {folder}.', folder=str(folder))
    latest = {path.parents[2]: path for path in sorted(folder.rglob('vis_data/scalars.json'))}
    for work_dir, path in latest.items():
        cfg = read_config(path.with_name('config.py'))
        backbone = find_backbone(cfg.model)
        if backbone.type != 'ConvNeXtRoad' or backbone.get('regime', 'resnet50') != regime:
            continue
        text = path.read_text(encoding='utf-8')
        lines = text[: text.rfind('\n') + 1].splitlines()  # a killed training may leave an incomplete line
        evaluations = [record for record in map(json.loads, lines) if METRICS.keys() & record.keys()]
        length = cfg.train_cfg.get('max_epochs') or cfg.train_cfg.get('max_iters')
        if not evaluations or evaluations[-1]['step'] != length:
            reached = evaluations[-1]['step'] if evaluations else 0
            raise UserError(
                f'the training in {work_dir} was evaluated last at {reached} of {length}, so it is not finished. '
                'Go on with tools/train.py --resume, or move it elsewhere.',
                folder=str(work_dir),
                reached=reached,
                length=length,
            )
        metric = next(name for name in METRICS if name in evaluations[-1])
        kind = (metric, str(cfg.get('data_root')), length)
        step = backbone.get('step', 'convnext')
        yield Training(step, kind, PERCENT[metric] * evaluations[-1][metric])
