"""Draws figure 2 of the ConvNeXt paper: the published numbers beside those that were counted and reached here."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mmconvnext.backbones.road_steps import SWIN
from mmconvnext.runner.road_results import Row
from mmconvnext.whole_files import written_whole

TITLES = dict(resnet50='From ResNet-50 to ConvNeXt-T', resnet200='From ResNet-200 to ConvNeXt-B')
COLOURS = dict(bar='tab:blue', side_branch='lightsteelblue', published='black', swin='grey')


def draw_road(regime: str, rows: list[Row], metric: str, path: Path) -> None:
    """Saves a figure of the steps, from top to bottom: accuracy, multiply-adds, and what trainings here reached.

    Args:
        regime: ``resnet50`` or ``resnet200``.
        rows: From :func:`~mmconvnext.runner.road_results.rows_of`.
        metric: What the trainings reached, such as ``box AP``; empty if there are none.
        path: A file of any type that Matplotlib writes. An existing one is replaced when the new one is complete.

    Raises:
        UserError: If the file cannot be written.
    """
    # Without pyplot, which would choose a backend
    figure = Figure(figsize=(14 if metric else 10, 6.4), layout='constrained')
    figure.suptitle(TITLES[regime])
    panels = figure.subplots(1, 3 if metric else 2, sharey=True)
    _draw_accuracy(panels[0], regime, rows)
    _draw_macs(panels[1], regime, rows)
    if metric:
        _draw_reached(panels[2], metric, rows)
    panels[0].set_yticks(range(len(rows)), [row.step.label for row in rows])
    panels[0].invert_yaxis()
    for axes in panels:
        axes.grid(axis='x', alpha=0.3)
    with written_whole(path) as unfinished:
        figure.savefig(unfinished, dpi=110)


def _draw_accuracy(axes: Axes, regime: str, rows: list[Row]) -> None:
    top1 = [row.step.published(regime).top1 for row in rows]
    axes.barh(range(len(rows)), top1, color=_colours(rows))
    for y, value in enumerate(top1):
        axes.text(value, y, f' {value:.2f}', va='center', fontsize='small')
    name, swin = SWIN[regime]
    line = axes.axvline(swin.top1, color=COLOURS['swin'], linestyle='--', label=f'{name} {swin.top1:.1f}')
    side_branch = Patch(color=COLOURS['side_branch'], label='not adopted')
    axes.set(title='published top-1 on ImageNet, %', xlim=(min(top1) - 1, max(top1) + 1))
    axes.legend(
        handles=[line, side_branch],
        loc='lower left',
        bbox_to_anchor=(0, 1.06),
        ncols=2,
        frameon=False,
        borderaxespad=0,
    )


def _draw_macs(axes: Axes, regime: str, rows: list[Row]) -> None:
    macs = [row.cost.macs / 1e9 for row in rows]
    axes.barh(range(len(rows)), macs, color=_colours(rows), label='counted here')
    published = [row.step.published(regime).macs for row in rows]
    for y, value in enumerate(macs):
        axes.text(max(value, published[y]), y, f'  {value:.2f}', va='center', fontsize='small')
    axes.scatter(published, range(len(rows)), marker='|', s=90, color=COLOURS['published'], label='published')
    axes.set(title='multiply-adds at 224x224, billions', xlim=(0, max(macs) * 1.12))
    axes.legend(loc='lower left', bbox_to_anchor=(0, 1.06), ncols=2, frameon=False, borderaxespad=0)


def _draw_reached(axes: Axes, metric: str, rows: list[Row]) -> None:
    for y, row in enumerate(rows):
        if not row.reached:
            continue
        mean = sum(row.reached) / len(row.reached)
        axes.barh(y, mean, color=_colours([row]))
        axes.scatter(row.reached, [y] * len(row.reached), color=COLOURS['published'], s=14, zorder=3)
        axes.text(max(row.reached), y, f'  {mean:.1f}', va='center', fontsize='small')
    highest = max(value for row in rows for value in row.reached)
    axes.set(title=f'{metric} reached here, %: mean, and each run', xlim=(0, 1.15 * highest or 1))


def _colours(rows: list[Row]) -> list[str]:
    return [COLOURS['side_branch' if row.step.is_side_branch else 'bar'] for row in rows]
