"""The links from page to page lead somewhere."""

import re
from pathlib import Path

import pytest

from benchmarks import report
from tests.conftest import ROOT

PAGES = [*sorted(ROOT.glob('*.md')), *sorted((ROOT / 'docs').glob('*.md'))]
LINK = re.compile(r'\]\(([^)\s]+)\)')


def targets(page: Path) -> list[Path]:
    """Files that a page links to, without the addresses."""
    links = LINK.findall(page.read_text(encoding='utf-8'))
    return [(page.parent / link.partition('#')[0]).resolve() for link in links if not re.match(r'\w+:|#', link)]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_linked_files_exist(page):
    missing = [target for target in targets(page) if not target.exists()]
    if not report.RESULTS.exists():  # the page of figures is written from them
        missing = [target for target in missing if target != report.PAGE.resolve()]
    assert not missing


def test_links_are_seen_across_lines_and_addresses_are_not(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('[of two\nlines](a.md#b), ![](../c.png), [d](https://e.org/f.md), [g](#h)')
    assert targets(page) == [tmp_path / 'a.md', tmp_path.parent / 'c.png']
