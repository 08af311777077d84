# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Links from the pages to Markdown files of the repository outside docs/."""

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
# Pages of the site that have the content of a file, or of one of its sections.
PAGES = {
    'README.md': 'index',
    'README.md#install': 'get-going',
    'README.md#the-papers-recipes': 'zoo',
    'CONTRIBUTING.md': 'contributing',
    'CHANGELOG.md': 'changelog',
}


def file_of(link: pending_xref) -> Path:
    """Return the path of the file, if any, relative to the repository."""
    target = link['reftarget'].partition('#')[0]
    path = ROOT / (target if target.endswith('.md') else f'{target}.md')
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def resolve(app: Sphinx, doctree: nodes.document) -> None:
    """Point links at the page of a file, or at a copy of the file."""
    for link in [*doctree.findall(pending_xref)]:
        path = file_of(link)
        if link['reftype'] != 'myst' or not (ROOT / path).is_file():
            continue
        anchor = link.get('reftargetid') or link['reftarget'].partition('#')[2]
        page = PAGES.get(f'{path}#{anchor}') or PAGES.get(str(path))
        if page:
            # A page of its own has the headings of the file.
            kept = anchor if page in ('contributing', 'changelog') else None
            new = dict(refdomain='doc', reftarget=page, reftargetid=kept or None)
            link.update_all_atts(new, replace=True)
        elif path.parts[0] != 'docs':
            copy = download_reference(
                '',
                '',
                *link.children,
                reftarget=f'/../{path}',
                refdoc=app.env.docname,
            )
            link.replace_self(copy)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the event."""
    # Before Sphinx collects the files to copy.
    app.connect('doctree-read', resolve, priority=100)
    return dict(version='1', parallel_read_safe=True, parallel_write_safe=True)
