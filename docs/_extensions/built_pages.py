# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Warn of broken links, missing anchors and pictures without a text in built pages."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
# Pages of the theme, which are not written from docs/.
GENERATED = {'genindex.html', 'search.html', 'py-modindex.html'}


class Page(HTMLParser):
    """Anchors, links and pictures of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.without_text: list[str] = []
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect a tag."""
        found = dict(attrs)
        self.anchors.update(found[key] or '' for key in ('id', 'name') if key in found)
        for key in ('href', 'src'):
            if found.get(key):
                self.links.append(found[key] or '')
        if tag == 'img' and 'alt' not in found:  # empty: only decoration
            self.without_text.append(found.get('src') or '')


def problems(folder: Path) -> Iterator[str]:
    """Yield the problems of all pages in a folder."""
    pages = {path: Page(path) for path in sorted(folder.rglob('*.html'))}
    for path, page in pages.items():
        name = path.relative_to(folder).as_posix()
        if name in GENERATED or name.startswith('_modules/'):
            continue
        yield from (f'{name}: {src} has no alt text' for src in page.without_text)
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (
                (path.parent / unquote(parts.path)).resolve() if parts.path else path
            )
            # To a browser, "top" is the top of any page.
            anchors = {*pages[target].anchors, '', 'top'} if target in pages else None
            if not target.exists():
                yield f'{name}: {link} does not exist'
            elif anchors and unquote(parts.fragment) not in anchors:
                yield f'{name}: {link} has no such anchor'


def check(app: Sphinx, exception: Exception | None) -> None:
    """Warn of each problem; `make docs` takes warnings for errors."""
    if exception is None and app.builder.name == 'html':
        for problem in problems(Path(app.outdir)):
            logger.warning(problem)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the check."""
    app.connect('build-finished', check)
    return dict(version='1', parallel_read_safe=True, parallel_write_safe=True)
