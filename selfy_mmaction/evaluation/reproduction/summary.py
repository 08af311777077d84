# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Figures of a table: means over seeds, differences and rank correlations."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from .benchmark import VAL
from .planning import choose_learning_rate, searched_runs
from .recipes import Recipe
from .results import Result, Results
from .rows import Row, Table
from .run_log import RunLog
from .seed_statistics import paired_difference, rank_correlation, summarize

CORRUPTED = ('val_occluded', 'val_blurred')
"""Splits of Section 4.7. Their clips are the first ones of ``'val'``."""

Summary = dict[str, Any]


def summarize_table(
    table: Table, recipes: Mapping[Path, Recipe], results: Results, log: RunLog
) -> Summary:
    """Compute everything that the report of a table shows.

    All stored seeds count.

    Args:
        table: The table.
        recipes: Recipes by file of the config.
        results: Results of the runs.
        log: List of everything that happened to runs.

    Returns:
        Values that JSON can represent; accuracies and differences are percent.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction.evaluation.reproduction import (
        ...     benchmark, recipes, results, rows, run_log, summary
        ... )
        >>> table = rows.read_tables(rows.default_configs())['table4a_similarity']
        >>> data = benchmark.Benchmark(Path('data'), dict(preset='tiny'), dict(val=16))
        >>> with tempfile.TemporaryDirectory() as folder:  # without results
        ...     found = summary.summarize_table(
        ...         table,
        ...         recipes.read_recipes(table.rows),
        ...         results.Results(Path(folder), data),
        ...         run_log.RunLog(Path(folder, 'started.jsonl')),
        ...     )
        >>> found['title'], found['chance'], found['events']['started']
        ('Table 4a: similarity', 25.0, 0)
    """
    benchmark = results.benchmark
    found = {row: _by_seed(recipes[row.path], results) for row in table.rows}
    references = {row.group: row for row in table.rows if row.is_reference}
    rows = [
        _summarize_row(row, found, references.get(row.group), benchmark.splits)
        for row in table.rows
    ]
    return {
        'table': table.key,
        'title': table.title,
        'benchmark': dict(benchmark.identity),
        'classes': len(benchmark.classes),
        'chance': 100 / len(benchmark.classes),
        'chance_of_order': 100 / benchmark.num_partners,
        'splits': dict(benchmark.splits),
        'devices': sorted(
            {r['device'] for runs in found.values() for r in runs.values()}
        ),
        'versions': _versions(found.values()),
        'events': log.count({row.config for row in table.rows}),
        'rows': rows,
        'rank_correlations': _rank_correlations(rows),
        'searches': [
            _summarize_search(row, recipes[row.path], results)
            for row in table.rows
            if row.learning_rates
        ],
    }


def has_paper_figures(summary: Summary) -> bool:
    """Return whether the paper reports an accuracy of some row."""
    return any(row['paper'] is not None for row in summary['rows'])


def _versions(found: Iterable[Mapping[int, Result]]) -> dict[str, list[str]]:
    versions: dict[str, set[str]] = {}
    for runs in found:
        for run in runs.values():
            for name, version in run['versions'].items():
                versions.setdefault(name, set()).add(version)
    return {name: sorted(each) for name, each in versions.items()}


def _by_seed(recipe: Recipe, results: Results) -> dict[int, Result]:
    rate = choose_learning_rate(recipe, results.get)
    if rate is None:
        return {}
    runs = {run.seed: results.get(run) for run in results.stored(recipe, [rate])}
    return {seed: result for seed, result in runs.items() if result}


def _accuracies(
    runs: Mapping[int, Result], split: str = VAL, kind: str = 'accuracy'
) -> dict[int, float]:
    return {seed: 100 * run['splits'][split][kind] for seed, run in runs.items()}


def _summarize_row(
    row: Row,
    found: Mapping[Row, dict[int, Result]],
    reference: Row | None,
    clips: Mapping[str, int],
) -> Summary:
    runs = found[row]
    accuracies = _accuracies(runs)
    any_run = next(iter(runs.values()), {})
    summary: Summary = {
        'label': row.label,
        'group': row.group,
        'config': row.config,
        'is_reference': row.is_reference,
        'paper': row.paper,
        'learning_rate': any_run.get('learning_rate'),
        'accuracies': accuracies,
        'ours': _as_dict(summarize(list(accuracies.values()))),
        'difference': None,
        'parameters': any_run.get('parameters'),
        'multiply_adds': any_run.get('multiply_adds'),
        'minutes': _mean_minutes(runs, 'wall_seconds'),
        'cpu_minutes': _mean_minutes(runs, 'cpu_seconds'),
        'splits': {},
        'controls': {},
        'corrupted': {},
    }
    if reference and reference != row:
        difference = paired_difference(
            accuracies, _accuracies(found[reference]), clips[VAL]
        )
        if difference:
            summary['difference'] = {
                'reference': reference.label,
                **difference._asdict(),
            }
    for split in any_run.get('splits', {}):
        summary['splits'][split] = {
            kind: _as_dict(summarize(list(_accuracies(runs, split, kind).values())))
            for kind in ('accuracy', 'story_accuracy', 'order_accuracy')
        }
    for control in any_run.get('controls', {}):
        values = [100 * run['controls'][control]['accuracy'] for run in runs.values()]
        summary['controls'][control] = _as_dict(summarize(values))
    for split in CORRUPTED:
        if split in summary['splits']:
            clean = _accuracies(runs, split, 'accuracy_on_val')
            corrupted = _accuracies(runs, split)
            change = paired_difference(corrupted, clean, clips[split])
            summary['corrupted'][split] = {
                'clean': _as_dict(summarize(list(clean.values()))),
                'change': _as_dict(change),
                'changes': {seed: corrupted[seed] - clean[seed] for seed in clean},
            }
    return summary


def _as_dict(values: Any) -> dict[str, Any] | None:
    return None if values is None else values._asdict()


def _mean_minutes(runs: Mapping[int, Result], key: str) -> float | None:
    known = [run[key] / 60 for run in runs.values() if run.get(key) is not None]
    return fmean(known) if known else None


def _rank_correlations(rows: Sequence[Summary]) -> dict[str, Any]:
    """Compare our order of rows with the paper's: of all rows and of each group."""
    both = [row for row in rows if row['ours'] and row['paper'] is not None]
    groups = dict.fromkeys(row['group'] for row in both)
    choices = {'all rows': both}
    if len(groups) > 1:
        for group in groups:
            choices[group] = [row for row in both if row['group'] == group]
    return {
        name: _as_dict(
            rank_correlation(
                [row['ours']['mean'] for row in chosen],
                [row['paper'] for row in chosen],
            )
        )
        for name, chosen in choices.items()
    }


def _summarize_search(row: Row, recipe: Recipe, results: Results) -> Summary:
    runs = [(run.learning_rate, results.get(run)) for run in searched_runs(recipe)]
    return {
        'label': row.label,
        'chosen': choose_learning_rate(recipe, results.get),
        'accuracies': {
            f'{rate:g}': 100 * result['splits'][VAL]['accuracy'] if result else None
            for rate, result in runs
        },
    }
