# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The paper's findings, judged by comparisons of rows over seeds."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.text_files import read_text

from .benchmark import VAL
from .formatting import (
    NOTHING,
    show_difference,
    show_rank_correlation,
    show_table,
    show_text,
)
from .rows import ROBUSTNESS, Row, Table
from .seed_statistics import paired_difference
from .summary import CORRUPTED, Summary

FILE = 'findings.yml'
"""Next to the folders of the tables."""

HOLDS, FAILS, OPEN = 'holds', 'does not hold', 'not told apart'
NOT_RUN = 'not run'


@dataclass(frozen=True)
class Finding:
    """A sentence of the paper that rows of a table support.

    Attributes:
        sentence: What the paper finds.
        table: The table.
        pairs: Rows of which the first one is better.
        split: Split on which they are compared by the change of accuracy from the same
            clips of ``'val'``; None for the accuracy on ``'val'``.
        is_ours: Whether the paper lacks it.
    """

    sentence: str
    table: Table
    pairs: tuple[tuple[Row, Row], ...]
    split: str | None = None
    is_ours: bool = False


def read_findings(configs: Path, tables: Mapping[str, Table]) -> list[Finding]:
    """Read the findings next to the folders of the tables.

    Args:
        configs: Folder of these folders.
        tables: Result of ``read_tables``.

    Returns:
        The findings; empty if the folder has no file ``findings.yml``.

    Raises:
        ValueError: If the file is damaged, or names a table, row or split that does not
            exist.

    Example:
        >>> from selfy_mmaction.evaluation.reproduction import findings, rows
        >>> configs = rows.default_configs()
        >>> found = findings.read_findings(configs, rows.read_tables(configs))
        >>> found[7].sentence
        'SELFY is better than self-attention'
    """
    path = configs / FILE
    if not path.is_file():
        return []
    try:
        entries = yaml.safe_load(read_text(path))['Findings']
        return [_read_finding(entry, tables, path) for entry in entries]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{path} is not a list of Findings, each with Finding, Table and Better '
            f'({type(error).__name__}: {error})'
        ) from error


def _read_finding(
    entry: dict[str, Any], tables: Mapping[str, Table], path: Path
) -> Finding:
    sentence, key, split = entry['Finding'], entry['Table'], entry.get('Split')
    if key not in tables:
        raise ValueError(
            f'{path} has the table {key!r} in {sentence!r}, expected one of '
            f'{", ".join(tables)}'
        )
    if split not in (None, *CORRUPTED):
        raise ValueError(
            f'{path} has the split {split!r} in {sentence!r}, expected one of '
            f'{", ".join(CORRUPTED)}, or no Split for the accuracy'
        )
    rows = {row.label: row for row in tables[key].rows}
    pairs = []
    for pair in entry['Better']:
        if len(pair) != 2 or not rows.keys() >= set(pair):
            raise ValueError(
                f'{path} compares {pair} in {sentence!r}, expected two rows of {key}: '
                f'{", ".join(map(repr, rows))}'
            )
        pairs.append((rows[pair[0]], rows[pair[1]]))
    return Finding(sentence, tables[key], tuple(pairs), split, bool(entry.get('Ours')))


def judge(finding: Finding, summary: Summary) -> dict[str, Any]:
    """Judge a finding by the runs.

    A comparison holds if its 95 % interval (Student's t over paired seeds) is above
    zero, and does not hold if it is below. A finding holds if all of them hold, and
    does not hold if one does not.

    Args:
        finding: The finding.
        summary: Result of ``summarize_table`` of its table.

    Returns:
        Values that JSON can represent; differences are percentage points.

    Example:
        >>> from selfy_mmaction.evaluation.reproduction import findings, rows
        >>> configs = rows.default_configs()
        >>> first = findings.read_findings(configs, rows.read_tables(configs))[0]
        >>> accuracies = {'TSN, no block': {0: 25, 1: 25}, 'TSN, {1}': {0: 74, 1: 76}}
        >>> found = [dict(label=k, accuracies=v) for k, v in accuracies.items()]
        >>> summary = dict(title=first.table.title, splits=dict(val=480), rows=found)
        >>> findings.judge(first, summary)['verdict']
        'holds'
    """
    found = {row['label']: row for row in summary['rows']}
    pairs = []
    for better, worse in finding.pairs:
        values = [_by_seed(found[row.label], finding.split) for row in (better, worse)]
        clips = summary['splits'][finding.split or VAL]
        difference = paired_difference(*values, clips)
        paper = None
        # Fig. 5 has no numbers.
        if not (finding.split or better.paper is None or worse.paper is None):
            paper = better.paper - worse.paper
        pairs.append(
            {
                'better': better.label,
                'worse': worse.label,
                'paper': paper,
                'ours': difference._asdict() if difference else None,
                'agreeing_seeds': sum(
                    values[0][seed] > values[1][seed]
                    for seed in values[0].keys() & values[1].keys()
                ),
                'verdict': _verdict(difference),
            }
        )
    verdicts = [pair['verdict'] for pair in pairs]
    return {
        'finding': finding.sentence,
        'source': 'ours' if finding.is_ours else summary['title'].split(':')[0],
        'split': finding.split,
        'verdict': next(
            (name for name in (NOT_RUN, FAILS, OPEN) if name in verdicts), HOLDS
        ),
        'pairs': pairs,
    }


def _by_seed(row: Summary, split: str | None) -> dict[int, float]:
    if split is None:
        return row['accuracies']
    return row['corrupted'].get(split, {}).get('changes', {})


def _verdict(difference: Any) -> str:
    if difference is None:
        return NOT_RUN
    if difference.low is not None and difference.low > 0:
        return HOLDS
    if difference.high is not None and difference.high < 0:
        return FAILS
    return OPEN


def write_findings(
    findings: Iterable[Finding], summaries: Mapping[str, Summary], folder: Path
) -> list[Path]:
    """Write findings.md, with the rank correlations of all tables, and findings.json.

    Args:
        findings: The findings.
        summaries: Results of ``summarize_table`` by table.
        folder: Folder to write to.

    Returns:
        The files; none if there are no findings.

    Raises:
        OSError: If a file cannot be written.

    Example:
        >>> from selfy_mmaction.evaluation.reproduction import findings
        >>> findings.write_findings([], {}, 'docs')
        []
    """
    judged = [judge(each, summaries[each.table.key]) for each in findings]
    if not judged:
        return []
    text, data = folder / 'findings.md', folder / 'findings.json'
    with replacing(data) as partial:
        content = json.dumps(judged, indent=1, ensure_ascii=False)
        partial.write_text(content + '\n', encoding='utf-8')
    with replacing(text) as partial:
        partial.write_text(show_findings(judged, summaries.values()), encoding='utf-8')
    return [text, data]


def show_findings(
    judged: Sequence[Mapping[str, Any]], summaries: Iterable[Summary]
) -> str:
    """Format judged findings and the rank correlations of tables as Markdown.

    Args:
        judged: Results of :func:`judge`.
        summaries: Results of ``summarize_table``.
    """
    rows = []
    for each in judged:
        for index, pair in enumerate(each['pairs']):
            ours, is_first = pair['ours'], index == 0
            agreeing = (
                f'{pair["agreeing_seeds"]} of {ours["seeds"]}' if ours else NOTHING
            )
            rows.append(
                [
                    f'{show_text(each["finding"])} ({each["source"]})' * is_first,
                    f'{show_text(pair["better"])} > {show_text(pair["worse"])}',
                    NOTHING if pair['paper'] is None else f'{pair["paper"]:+.1f}',
                    show_difference(ours),
                    agreeing,
                    f'**{each["verdict"]}**' * is_first,
                ]
            )
    header = ['finding', 'comparison', 'paper', 'ours', 'seeds that agree', 'verdict']
    correlations = [
        [show_text(summary['title']), name, *show_rank_correlation(found)]
        for summary in summaries
        if summary['table'] != ROBUSTNESS  # the rows of another table
        for name, found in summary['rank_correlations'].items()
        if found
    ]
    orders = ['table', 'of', 'rows', "Spearman's ρ", "Kendall's τ"]
    return (
        f'{show_table(header, rows)}\n\n'
        'Differences of top-1 accuracy in percentage points; where the center frame is '
        'corrupted, differences of what is lost. Ours is the mean of seeds, with the '
        '95 % interval (Student t over paired seeds). A comparison holds if it is '
        'above zero, and does not hold if it is below; a finding holds if all its '
        'comparisons hold, and does not hold if one does not.\n\n'
        f'{show_table(orders, correlations)}\n\n'
        'Rank correlation of our means with the figures of the paper, with the part of '
        'the orders of the rows that agree at least as well (one-sided).\n'
    )
