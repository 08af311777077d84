# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Links in the docs point to existing files and headings."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in ('*.md', '.github/**/*.md', 'docs/**/*.md', 'examples/**/*.md')
    for page in ROOT.glob(pattern)
)
CODE = re.compile(r'^```.*?^```|`[^`\n]*`', re.DOTALL | re.MULTILINE)
# [text](target), ![text](target), [text](target "title") and [name]: target
LINK = re.compile(r'\]\(\s*<?([^)\s>]+)|^\[[^\]]+\]:\s*(\S+)', re.MULTILINE)
HEADING = re.compile(r'^#+ +(.+?) *#*$', re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub generates for the headings."""
    text = re.sub(r'^```.*?^```', '', page.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = set()
    for heading in HEADING.findall(text):
        words = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading).lower()
        anchor = re.sub(r'[^\w\- ]', '', words).replace(' ', '-')
        again = (f'{anchor}-{i}' for i in range(1, len(found) + 1))
        found.add(next(name for name in (anchor, *again) if name not in found))
    return found


def broken_links(page: Path) -> list[str]:
    links = [a or b for a, b in LINK.findall(CODE.sub('', page.read_text()))]
    broken = []
    for link in links:
        if re.match(r'[a-z]+:', link):  # URLs such as https:
            continue
        name, _, anchor = link.partition('#')
        target = page.parent / name if name else page
        is_page = target.suffix == '.md'
        if not target.exists() or (
            anchor and is_page and anchor not in anchors(target)
        ):
            broken.append(link)
    return broken


@pytest.mark.parametrize(
    'page', PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_links(page):
    assert broken_links(page) == []


def test_broken_links_are_found(tmp_path):
    (tmp_path / 'other.md').write_text('# A `b`: c-d\n\n## Twice\n\n## Twice\n')
    page = tmp_path / 'page.md'
    page.write_text(
        '[a](other.md) ![b](none.png) [c](other.md#a-b-c-d) [d](other.md#e)\n'
        '[e](#none) [f](other.md#twice-1) [g](other.md#twice-2) [h](https://a.b/x#y)\n'
        '`[i](code.md)`\n\n[j]: gone.md\n'
    )
    assert broken_links(page) == [
        'none.png', 'other.md#e', '#none', 'other.md#twice-2', 'gone.md'
    ]  # fmt: skip
