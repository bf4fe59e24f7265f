"""Makes docs/model_zoo.md and configs/metafile.yml, which ``mim`` shows: the cost, recipe and results of each config.

``tools/verify_zoo.py`` writes the files.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from mmconvnext.backbones import resolve_arch
from mmconvnext.backbones.staged import derive_num_layers
from mmconvnext.checkpoints.manifest import MANIFEST, Weights
from mmconvnext.config.backbone import find_backbone
from mmconvnext.config.reading import is_segmentation
from zoo.complexity import Complexity, measure

# Parameters in millions and multiply-adds in billions: arXiv 2201.03545, tables 3 and 4
PUBLISHED_COSTS = {
    'mask_rcnn_convnext_t_3x': (48, 262),
    'cascade_convnext_t_3x': (86, 741),
    'cascade_convnext_s_3x': (108, 827),
    'cascade_convnext_b_3x': (146, 964),
    'cascade_convnext_b_in22k_3x': (146, 964),
    'cascade_convnext_l_in22k_3x': (255, 1354),
    'cascade_convnext_xl_in22k_3x': (407, 1898),
    'upernet_convnext_t_160k': (60, 939),
    'upernet_convnext_s_160k': (82, 1027),
    'upernet_convnext_b_160k': (122, 1170),
    'upernet_convnext_b_in22k_640_160k': (122, 1828),
    'upernet_convnext_l_in22k_640_160k': (235, 2458),
    'upernet_convnext_xl_in22k_640_160k': (391, 3335),
}
PAPERS = {1: 'https://arxiv.org/abs/2201.03545', 2: 'https://arxiv.org/abs/2301.00808'}
METRIC_TASKS = {
    'box AP': 'Object Detection',
    'mask AP': 'Instance Segmentation',
    'mIoU': 'Semantic Segmentation',
    'multi-scale': 'Semantic Segmentation',
}


@dataclass(frozen=True)
class Entry:
    """One config of the zoo.

    Args:
        path: The config file.
        cfg: Its content.
        measured: The cost of its model, as counted here.
        weights: The backbone's pre-trained weights.
        trained: The authors' checkpoint of the whole model, trained by the same recipe, with their figures; None if the
            recipe is ours.
    """

    path: Path
    cfg: Config
    measured: Complexity
    weights: Weights
    trained: Weights | None

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem

    @property
    def published(self) -> Mapping[str, float]:
        """Accuracies that the authors published for the same recipe, by metric."""
        return self.trained.published if self.trained else {}


def entries(configs: Path) -> Iterator[Entry]:
    """Loads, builds and measures every config under ``configs``, by task and name."""
    for path in sorted(p for task in ('detection', 'segmentation') for p in (configs / task).glob('*.py')):
        cfg = Config.fromfile(path)
        weights = MANIFEST[find_backbone(cfg.model).init_cfg.checkpoint]
        yield Entry(path, cfg, measure(cfg), weights, MANIFEST.get(path.stem))


def page(zoo: list[Entry]) -> str:
    """Returns the text of docs/model_zoo.md."""
    parts = [
        '# Model zoo',
        'Written by `python tools/verify_zoo.py`; CI fails when it is stale. Parameters (millions) and multiply-adds '
        '(billions) are counted here, on 1280x800 with 1,000 proposals and 100 masks for detectors, and on 2048x512 '
        '(2560x640 for crops of 640) for segmentors; the published numbers are in brackets. AP and mIoU are those that '
        'the authors published for the recipe, and were not measured here; a dash means that nothing was published '
        'for this recipe. Figures published for the same network with another recipe are in the comment of its '
        'config.',
    ]
    for title, segmentation in (('Detection (COCO)', False), ('Segmentation (ADE20K)', True)):
        metrics = ('mIoU', 'multi-scale') if segmentation else ('box AP', 'mask AP')
        head = ['config', 'weights', 'licence', 'params', 'MACs', 'drop path', 'lr', 'decay', 'layers', 'lowest lr']
        head += metrics
        rows = [_row(entry, metrics) for entry in zoo if is_segmentation(entry.cfg) == segmentation]
        table = [head, ['---'] * len(head), *rows]
        parts += [f'## {title}', '\n'.join(f'| {" | ".join(row)} |' for row in table)]
    return '\n\n'.join(parts) + '\n'


def metafile(zoo: list[Entry]) -> str:
    """Returns the text of configs/metafile.yml, in the format that OpenMMLab's tools read."""
    collections: list[dict[str, Any]] = [
        dict(
            Name=f'ConvNeXt V{version}',
            Metadata={'Architecture': ['ConvNeXt'], 'Training Techniques': ['AdamW', 'Layer-wise learning-rate decay']},
            Paper=dict(URL=url),
            README='docs/model_zoo.md',
        )
        for version, url in PAPERS.items()
    ]
    models: list[dict[str, Any]] = []
    for entry in zoo:
        dataset = 'ADE20K' if is_segmentation(entry.cfg) else 'COCO'
        model: dict[str, Any] = {
            'Name': entry.name,
            'In Collection': f'ConvNeXt V{entry.weights.version}',
            'Config': f'configs/{entry.path.parent.name}/{entry.path.name}',
            'Metadata': {
                'Parameters': entry.measured.params,
                'FLOPs': entry.measured.macs,
                'Backbone Weights': entry.weights.name,
                'Licence of Weights': entry.weights.licence,
            },
        }
        if entry.published:
            model['Results'] = [
                dict(Task=METRIC_TASKS[metric], Dataset=dataset, Metrics={metric: value})
                for metric, value in entry.published.items()
            ]
        if entry.trained:
            model['Weights'] = entry.trained.url
        models.append(model)
    head = '# Written by tools/verify_zoo.py; metrics are those that the authors published\n'
    return head + yaml.safe_dump(dict(Collections=collections, Models=models), sort_keys=False, width=120)


def _row(entry: Entry, metrics: tuple[str, ...]) -> list[str]:
    optimizer, paramwise = entry.cfg.optim_wrapper.optimizer, entry.cfg.optim_wrapper.paramwise_cfg
    backbone = find_backbone(entry.cfg.model)
    num_layers = derive_num_layers(resolve_arch(backbone.arch).depths)
    costs = [f'{entry.measured.params / 1e6:.1f}', f'{entry.measured.macs / 1e9:.0f}']
    if entry.name in PUBLISHED_COSTS:
        costs = [f'{ours} ({published})' for ours, published in zip(costs, PUBLISHED_COSTS[entry.name])]
    return [
        f'[{entry.name}](../configs/{entry.path.parent.name}/{entry.path.name})',
        f'`{entry.weights.name}`',
        entry.weights.licence,
        *costs,
        str(backbone.drop_path_rate),
        f'{optimizer.lr:g}',
        f'{paramwise.decay_rate} {paramwise.decay_type}',
        str(num_layers),
        f'{optimizer.lr * paramwise.decay_rate ** (num_layers + 1):.2g}',
        *(str(entry.published.get(metric, '-')) for metric in metrics),
    ]
