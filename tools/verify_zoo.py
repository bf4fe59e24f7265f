"""Regenerates docs/model_zoo.md, docs/rivals.md and configs/metafile.yml, or checks that they are up to date."""

import argparse
import sys
from pathlib import Path

from zoo import page, rivals

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Writes the pages, or with ``--check`` compares them and exits with status 1 if one is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='change nothing; fail if a page is stale')
    check = parser.parse_args().check

    configs = list(page.entries(ROOT / 'configs'))
    compared = list(rivals.rivals(ROOT / 'configs', configs))
    pages = {
        ROOT / 'docs/model_zoo.md': page.page(configs),
        ROOT / 'configs/metafile.yml': page.metafile(configs),
        ROOT / 'docs/rivals.md': rivals.page(compared, ROOT / 'benchmarks/results/rivals'),
    }
    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text(encoding='utf-8') != text]
    for path in stale:
        if check:
            print(f'{path.relative_to(ROOT)} is not what the configs say; run python tools/verify_zoo.py')
        else:
            path.write_text(pages[path], encoding='utf-8')
            print(f'wrote {path.relative_to(ROOT)}')
    print(f'{len(configs)} configs, {len(stale)} stale pages')
    if check and stale:
        sys.exit(1)


if __name__ == '__main__':
    main()
