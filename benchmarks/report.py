"""Writes docs/speed.md from the figures in benchmarks/results, or checks that the page is up to date."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / 'benchmarks' / 'results'
PAGE = ROOT / 'docs' / 'speed.md'

HEAD = """# Speed

Written by `python -m benchmarks.report` from `benchmarks/results`; change neither this page nor the figures by hand.

Every table is one run. All contenders have the same weights, return the same four outputs (checked), and take turns in
rounds. A figure is the median of the rounds, and the spread is the range of their middle half. Machines are shared and
noisy: trust ratios more than milliseconds. "Saved" is what autograd keeps between forward and backward. "Limit" is the
time of the MLPs' matrix products alone, at the best rate that the machine reached on any of them. Reproduce with

```
pip install -e '.[onedl,test,peers]' -c constraints.txt
python -m benchmarks.backbone --help
python -m benchmarks.detector --help
python -m benchmarks.gpu --help
```

`mmconvnext` is a model as it is built. `deployed` is the model after `mmconvnext.deploy.deploy`
(`tools/test.py --fuse`). `reference path` runs the layers one by one (`MMCONVNEXT_KERNELS=reference`).
"""


def main() -> None:
    """Writes or checks the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='write nothing; fail if the page is stale')
    args = parser.parse_args()
    text = page()
    if not args.check:
        PAGE.write_text(text)
    elif not PAGE.is_file() or PAGE.read_text() != text:
        sys.exit(f'error: {PAGE.relative_to(ROOT)} is stale; run python -m benchmarks.report')


def page() -> str:
    """Returns the whole page."""
    parts = [HEAD]
    for path in sorted(RESULTS.glob('*.json')):
        results = json.loads(path.read_text())
        parts.append(f'## {machine(results[0]["machine"])}\n')
        parts += [table(result) for result in results]
    return '\n'.join(parts)


def machine(facts: dict[str, Any]) -> str:
    """Returns one line on the machine that figures come from."""
    if 'gpu' in facts:
        return (
            f'{facts["gpu"]} ({facts["clocks and power limit"]}), driver {facts["driver"]}, torch {facts["torch"]}, '
            f'cuDNN {facts["cudnn"]}, Triton {facts["triton"]}'
        )
    return (
        f'{facts["processor"]}, {facts["threads"]} threads ({", ".join(facts["instructions"])}), '
        f'torch {facts["torch"]}, Python {facts["python"]}'
    )


def table(result: dict[str, Any]) -> str:
    """Returns the table of one run, fastest first."""
    rows = sorted(result['rows'].items(), key=lambda item: item[1]['seconds'])
    baseline = next((row for name, row in rows if name == "authors' block"), rows[-1][1])
    keys = [key for key in ('saved', 'peak') if any(key in row for _, row in rows)]
    on_gpu = 'launches' in rows[0][1]
    shape = ' x '.join(map(str, result['input']))
    columns = ['implementation', 'ms', 'spread', 'speed-up', *(f'{key}, MiB' for key in keys)]
    if on_gpu:
        columns += ['GPU busy, ms', 'launches', 'first step, s']
    lines = [
        f'### {result["model"]}, {result["mode"]}, {result["dtype"]}, {shape}\n',
        f'| {" | ".join(columns)} |',
        '|' + '---|' * len(columns),
    ]
    for name, row in rows:
        cells = [name, f'{1e3 * row["seconds"]:.{2 if on_gpu else 0}f}', f'{row["spread"]:.0%}']
        cells.append(f'{baseline["seconds"] / row["seconds"]:.2f}x')
        cells += [f'{row[key] / 2**20:.0f}' if key in row else '' for key in keys]
        if on_gpu:
            cells += [f'{1e3 * row["gpu_seconds"]:.2f}', str(row['launches']), f'{row["first_seconds"]:.1f}']
        lines.append('| ' + ' | '.join(cells) + ' |')
    if 'gemm_limit_seconds' in result:
        lines.append(f'| *limit* | {1e3 * result["gemm_limit_seconds"]:.0f} | | |' + ' |' * len(keys))
    if on_gpu:
        lines += ['', *kinds(rows)]
    return '\n'.join(lines) + '\n'


def kinds(rows: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Returns the lines of a table of the GPU's milliseconds by kind of kernel."""
    names = sorted({kind for _, row in rows for kind in row['kinds']})
    lines = ['| GPU ms in kernels of | ' + ' | '.join(names) + ' |', '|---|' + '---|' * len(names)]
    for name, row in rows:
        cells = [f'{1e3 * row["kinds"][kind]:.2f}' if kind in row['kinds'] else '' for kind in names]
        lines.append('| ' + ' | '.join([name, *cells]) + ' |')
    return lines


if __name__ == '__main__':
    main()
