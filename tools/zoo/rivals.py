"""Makes docs/rivals.md: the cost of each config in configs/peers, what was published for it, and what was measured.

``tools/verify_zoo.py`` writes the page. benchmarks/rivals.py measures.
"""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmconvnext.config.backbone import find_backbone, is_openmmlabs
from mmconvnext.config.reading import is_segmentation
from zoo.complexity import Complexity, measure
from zoo.page import Entry

SWIN_DETECTION = 'https://github.com/SwinTransformer/Swin-Transformer-Object-Detection'
SWIN_SEGMENTATION = 'https://arxiv.org/abs/2103.14030'
CONVNEXT = 'https://arxiv.org/abs/2201.03545'
# Published for the same recipes: two metrics of the config's task, and their source. Other rows stay empty
PUBLISHED: Mapping[str, tuple[float, float, str]] = {
    'mask_rcnn_swin_t_published_3x': (46.0, 41.6, SWIN_DETECTION),
    'mask_rcnn_swin_s_published_3x': (48.5, 43.3, SWIN_DETECTION),
    'upernet_swin_t_published_160k': (44.51, 45.81, SWIN_SEGMENTATION),
    'upernet_swin_s_published_160k': (47.64, 49.47, SWIN_SEGMENTATION),
    'upernet_swin_b_published_160k': (48.13, 49.72, SWIN_SEGMENTATION),
}
# What the rivals are compared with
CONVNEXTS = (
    'mask_rcnn_convnext_t_3x',
    *('upernet_convnext_t_160k', 'upernet_convnext_s_160k', 'upernet_convnext_b_160k'),
)
MEASURED = (('inference', 'seconds'), ('inference', 'peak'), ('training', 'seconds'), ('training', 'peak'))


@dataclass(frozen=True)
class Rival:
    """A row of the table.

    Args:
        path: The config file.
        segmentation: Whether it is a segmentor.
        recipe: ``ConvNeXt's recipe`` or ``published recipe``.
        weights: Name of the backbone's weights.
        licence: The licence of these weights.
        cost: The cost of the whole model.
        published: Two metrics and their source, or None.
    """

    path: Path
    segmentation: bool
    recipe: str
    weights: str
    licence: str
    cost: Complexity
    published: tuple[float, float, str] | None


def rivals(configs: Path, zoo: Sequence[Entry]) -> Iterator[Rival]:
    """Yields the ConvNeXts of the zoo that rivals are compared with, then every config in ``configs/peers``."""
    for entry in zoo:
        if entry.name in CONVNEXTS:
            first, second = list(entry.published.values())
            yield Rival(
                *(entry.path, is_segmentation(entry.cfg), 'published recipe', entry.weights.name),
                *(entry.weights.licence, entry.measured, (first, second, CONVNEXT)),
            )
    costs: dict[str, Complexity] = {}
    for path in sorted((configs / 'peers').glob('*.py')):
        cfg = Config.fromfile(path)
        backbone = find_backbone(cfg.model)
        network = _without_weights(cfg.model)
        if network not in costs:
            costs[network] = measure(cfg)
        if is_openmmlabs(backbone):
            recipe, weights, licence = 'published recipe', Path(backbone.init_cfg.checkpoint).stem, 'MIT'
        else:
            recipe, weights = "ConvNeXt's recipe", backbone.model_name
            licence = _licence(weights)
        yield Rival(*(path, is_segmentation(cfg), recipe, weights, licence, costs[network]), PUBLISHED.get(path.stem))


def page(rows: Sequence[Rival], results: Path) -> str:
    """Returns the text of docs/rivals.md.

    Args:
        rows: From :func:`rivals`.
        results: Folder of the JSON files of benchmarks/rivals.py, one for each machine.
    """
    parts = [HEAD]
    for title, segmentation in (('Mask R-CNN, 36 epochs (COCO)', False), ('UperNet, 160k steps (ADE20K)', True)):
        metrics = ['mIoU', 'multi-scale'] if segmentation else ['box AP', 'mask AP']
        head = ['config', 'recipe', 'weights', 'licence', 'params', 'MACs', *metrics]
        table = [head, ['---'] * len(head)]
        chosen = [row for row in rows if row.segmentation == segmentation]
        for row in chosen:
            first, second, source = row.published or ('', '', '')
            costs = [f'{row.cost.params / 1e6:.1f}', f'{row.cost.macs / 1e9:.0f}']
            figures = [f'[{first}]({source})' if source else '', str(second)]
            table.append([_link(row), row.recipe, f'`{row.weights}`', row.licence, *costs, *figures])
        parts += [f'## {title}', _lines(table)]
        for path in sorted(results.glob('*.json')):
            kind = 'upernet' if segmentation else 'mask_rcnn'
            runs = [run for run in json.loads(path.read_text(encoding='utf-8')) if run['model'] == kind]
            if runs:
                parts += [_setting(runs), _lines(list(_measured(chosen, runs)))]
    return '\n\n'.join(parts) + '\n'


HEAD = """# Rivals

Written by `python tools/verify_zoo.py`; CI fails when it is stale.

What is ConvNeXt better than, in detection and segmentation? Published numbers do not tell, since each network was
trained by a recipe of its own. The configs in `configs/peers` train other networks by ConvNeXt's recipe, so that only
the backbone differs:

```
pip install -e '.[timm]'
python tools/train.py configs/peers/mask_rcnn_resnet50_3x.py --data-root path/to/coco
```

The backbone is `TimmFeatures`. It builds any network of timm that has maps of strides 4 to 32 for images of any size:
`--cfg-options model.backbone.model_name=regnety_032 --pretrained hf-hub:timm/regnety_032.ra_in1k`. Neck, heads, and the
images' mean and standard deviation follow the network.

The following is the same in all of them, or says what "ConvNeXt's recipe" means where networks differ:

- Images, augmentation, heads, optimizer, learning rate and schedule are those of `mask_rcnn_convnext_t_3x` and
  `upernet_convnext_t_160k`. Each output passes through a LayerNorm, as ConvNeXt's do.
- Learning-rate decay counts N layers from the head to the stem, whatever the number of blocks: N = 6 for networks of
  the size of ConvNeXt-T or smaller, 12 for larger ones. The blocks are distributed evenly by depth; for ConvNeXt this
  is the authors' rule. The log of a training prints the rate of every layer.
- BatchNorms keep the statistics of the pre-training, but learn their weights. For synchronized statistics, set
  `model.backbone.norm_cfg.type=SyncBN model.backbone.norm_eval=False`. From random weights set `norm_eval=False`.
- Stochastic depth is that of the ConvNeXt of the same size; timm's DenseNet has none.
- The pre-training of the weights differs from ConvNeXt's, so this compares backbones together with their pre-training.
  The recipe of `resnet50.a1_in1k` is of the same age as ConvNeXt's. EfficientNets have configs with the weights of
  AutoAugment and with those of Noisy Student, which saw 300 million more images.

A "published recipe" is that of the network's authors, for the network of MMDetection or MMSegmentation, by which they
reached their number. A published number is given only for the same recipe; it was not measured here. No number is
published for ResNet-50, BiT, DenseNet or EfficientNet with this recipe. Parameters are in millions. Multiply-adds,
in billions, are counted here: on 1280x800 with 1,000 proposals and 100 masks for detectors, on 2048x512 for segmentors,
with the products of attention. Time and memory are measured, with all networks in turns, by

```
python -m benchmarks.rivals mask_rcnn --device cuda --precision amp-bf16 --out benchmarks/results/rivals/NAME.json
python -m benchmarks.rivals upernet --device cuda --precision amp-bf16 --out benchmarks/results/rivals/NAME.json
```

A second table has the results once there are any."""


def _without_weights(model: ConfigDict) -> str:
    """Returns a model's config as text, without the settings that do not change its cost."""
    model = copy.deepcopy(model)
    backbone = find_backbone(model)
    backbone.update(init_cfg=None, drop_path_rate=0)
    if 'model_name' in backbone:
        backbone.model_name = backbone.model_name.partition('.')[0]
    return repr(model)


def _licence(model_name: str) -> str:
    import timm

    cfg = timm.get_pretrained_cfg(model_name)
    licence = (cfg and cfg.license) or 'not said'
    return {'mit': 'MIT', 'apache-2.0': 'Apache-2.0'}.get(licence, licence)


def _link(row: Rival) -> str:
    return f'[{row.path.stem}](../configs/{row.path.parent.name}/{row.path.name})'


def _lines(table: Sequence[Sequence[str]]) -> str:
    return '\n'.join(f'| {" | ".join(row)} |' for row in table)


def _setting(runs: Sequence[Mapping[str, Any]]) -> str:
    machine, run = runs[0]['machine'], runs[0]
    where = machine.get('gpu') or f'{machine["processor"]}, {machine["threads"]} threads'
    shape = ' x '.join(map(str, run['input']))
    return (
        f'Measured in one run, the networks in turns: {where}, torch {machine["torch"]}, {run["dtype"]}, {shape}. '
        'Milliseconds are the median of the rounds, with the spread of their middle half; MiB are the peak memory of a '
        'step.'
    )


def _measured(rows: Sequence[Rival], runs: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    by_mode = {run['mode']: run['rows'] for run in runs}
    head = ['config', *(f'{mode}, {"ms" if figure == "seconds" else "MiB"}' for mode, figure in MEASURED)]
    yield head
    yield ['---'] * len(head)
    for row in rows:
        cells = []
        for mode, figure in MEASURED:
            found = by_mode.get(mode, {}).get(row.path.stem, {})
            if figure not in found:
                cells.append('')
            elif figure == 'seconds':
                cells.append(f'{1e3 * found["seconds"]:.1f} ({found["spread"]:.0%})')
            else:
                cells.append(f'{found["peak"] / 2**20:.0f}')
        if any(cells):
            yield [_link(row), *cells]
