# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Report of a check: facts, errors and notes."""

from collections.abc import Iterable, Sequence
from functools import partialmethod
from pathlib import Path

from .layout import Dataset

NUM_EXAMPLES = 5


class Report:
    """Facts, errors and notes that a check of a prepared folder collects.

    Args:
        dataset: Dataset to check.
        out: Prepared folder.
        allow_partial: Whether unpublished numbers of clips and classes are notes
            instead of errors.
    """

    def __init__(self, dataset: Dataset, out: Path, allow_partial: bool) -> None:
        self.dataset = dataset
        self.out = out
        self.unless_partial = self.note if allow_partial else self.error
        self.facts = {'dataset': dataset.name, 'folder': str(out)}
        self.facts |= {'lists': {}, 'classes': {}}
        self.findings: list[dict] = []

    def add(
        self,
        level: str,
        kind: str,
        where: str,
        message: str,
        examples: Iterable[str] = (),
    ) -> None:
        """Add a finding: errors make training wrong, notes do not."""
        examples = list(examples)[:NUM_EXAMPLES]
        found = dict(level=level, kind=kind, where=where)
        self.findings.append({**found, 'message': message, 'examples': examples})

    error = partialmethod(add, 'error')
    note = partialmethod(add, 'note')

    def as_dict(self) -> dict:
        """Return the report for JSON; ``ok`` is True if there are no errors."""
        found = {finding['level'] for finding in self.findings}
        return {'ok': 'error' not in found, **self.facts, 'findings': self.findings}


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table whose columns are aligned on the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def show(report: dict) -> str:
    """Format a report as text: lists, classes, errors, notes.

    Example:
        >>> from selfy_mmaction.data_preparation import show
        >>> finding = dict(level='error', where='val.txt', message='1 video is missing')
        >>> finding['examples'] = ['42.webm']
        >>> print(show(dict(ok=False, lists={}, classes={}, findings=[finding])))
        list  labels  clips  published  classes  decoded
        <BLANKLINE>
        error: val.txt: 1 video is missing
            42.webm
        <BLANKLINE>
        NOT OK: training on it would be wrong
    """
    rows = [('list', 'labels', 'clips', 'published', 'classes', 'decoded')]
    for name, facts in report['lists'].items():
        version, published = facts['label_version'], facts['published']
        rows.append(
            (
                name,
                version or 'unknown',
                str(facts['samples']),
                str(published[version])
                if version
                else ' or '.join(str(n) for n in published.values()),
                str(facts['classes']),
                str(facts.get('decoded', 0)),
            )
        )
    lines = format_table(rows)
    for name, facts in report['classes'].items():
        lines += [
            '',
            f'{name}: {facts["count"]} classes, order '
            f'{facts["label_order"] or "unknown"}, fingerprint {facts["fingerprint"]}',
        ]
        if facts['left_or_right']:
            lines.append('"left" or "right" in the name, never flipped:')
        lines += [f'  {label:>4} {x}' for label, x in facts['left_or_right'].items()]
    for level in ('error', 'note'):
        for finding in report['findings']:
            if finding['level'] == level:
                lines += ['', f'{level}: {finding["where"]}: {finding["message"]}']
                lines += [f'    {example}' for example in finding['examples']]
    lines += ['', 'ok' if report['ok'] else 'NOT OK: training on it would be wrong']
    return '\n'.join(line.rstrip() for line in lines)
