"""Trains a detector or segmentor from each of several weights, with several seeds, and compares the results.

    python -m benchmarks.transfer configs/detection/mask_rcnn_convnextv2_a_3x.py --mini \\
        --start none --start work_dirs/fcmae_convnextv2_atto_1600e_mini/epoch_100.pth

All trainings have the same steps and the same settings. A training that is already in its work directory is not
repeated, and an interrupted one is resumed.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import arguments, timing

ROOT = Path(__file__).parents[1]
METRICS = {'coco/bbox_mAP': ('box AP', 100.0), 'coco/segm_mAP': ('mask AP', 100.0), 'mIoU': ('mIoU', 1.0)}


def main() -> None:
    """Runs the trainings that do not exist yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path, help='config file')
    parser.add_argument(
        '--start',
        action='append',
        required=True,
        metavar='WEIGHTS',
        help='weights as for --pretrained of tools/train.py, none for random weights; give one --start for each',
    )
    parser.add_argument('--seeds', type=arguments.count, default=3, help='trainings from each start (default: 3)')
    parser.add_argument('--mini', action='store_true', help='train on the mini data')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/transfer'), help='folder of the trainings')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='for all trainings')
    args = parser.parse_args()
    print(', '.join(f'{key} {value}' for key, value in timing.machine().items()))
    reached: dict[str, list[dict[str, float]]] = {start: [] for start in args.start}
    for seed in range(args.seeds):
        for number, start in enumerate(args.start):  # in turns, so that an interrupted run can still be compared
            folder = args.work_dir / f'{args.config.stem}_start{number}_seed{seed}'
            if last_metrics(folder) is None:
                train(args, start, seed, folder)
            metrics = last_metrics(folder)
            if metrics is None:
                sys.exit(f'error: the training in {folder} left no evaluation of its last step')
            reached[start].append(metrics)
            print(f'seed {seed}, from {start}: ' + ', '.join(f'{k} {v:.2f}' for k, v in metrics.items()), flush=True)
    print(table(reached))


def train(args: argparse.Namespace, start: str, seed: int, folder: Path) -> None:
    """Runs one training in a process of its own, as a user would."""
    command = [sys.executable, str(ROOT / 'tools/train.py'), str(args.config), '--work-dir', str(folder)]
    command += ['--seed', str(seed), *(['--mini'] if args.mini else [])]
    # An interrupted training resumes from its checkpoint
    command += ['--resume'] if (folder / 'last_checkpoint').is_file() else ['--pretrained', start]
    command += ['--cfg-options', *args.cfg_options] if args.cfg_options else []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def last_metrics(folder: Path) -> dict[str, float] | None:
    """Reads the metrics of a finished training.

    Returns:
        The metrics in percent, by their short names; None if the training is not finished.
    """
    if not (folder / 'curves.png').is_file():  # a training draws it at its end
        return None
    runs = sorted(folder.glob('*/vis_data/scalars.json'))
    texts = [run.read_text(encoding='utf-8') for run in runs]
    # A run that was killed may leave part of a line
    records = [json.loads(line) for text in texts for line in text[: text.rfind('\n') + 1].splitlines()]
    evaluations = [record for record in records if METRICS.keys() & record.keys()]
    if not evaluations:
        return None
    return {short: times * evaluations[-1][name] for name, (short, times) in METRICS.items() if name in evaluations[-1]}


def table(reached: dict[str, list[dict[str, float]]]) -> str:
    """Returns mean, lowest and highest of each metric as a table in Markdown, with a line for each start."""
    names = list(dict.fromkeys(name for runs in reached.values() for metrics in runs for name in metrics))
    lines = [f'| start | {" | ".join(names)} |', '|---' * (1 + len(names)) + '|']
    lines += [
        f'| {start} | {" | ".join(spread([run[name] for run in runs]) for name in names)} |'
        for start, runs in reached.items()
    ]
    return '\n'.join(lines)


def spread(values: Sequence[float]) -> str:
    """Returns mean, lowest and highest as text."""
    return f'{statistics.mean(values):.1f} ({min(values):.1f} to {max(values):.1f}, {len(values)} seeds)'


if __name__ == '__main__':
    main()
