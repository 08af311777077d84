# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Report of a table: Markdown, JSON and a figure."""

import json
from pathlib import Path
from typing import Any

from selfy_mmaction.atomic_files import replacing

from .benchmark import VAL
from .figure import draw_robustness, draw_table
from .formatting import (
    NOTHING,
    show_difference,
    show_large,
    show_mean,
    show_number,
    show_rank_correlation,
    show_table,
    show_text,
)
from .rows import ROBUSTNESS
from .run_log import FAILED, FINISHED, INTERRUPTED, RESUMED, STARTED
from .summary import CORRUPTED, Summary, has_paper_figures


def write_report(summary: Summary, folder: Path) -> list[Path]:
    """Write TABLE.md, TABLE.json and, if there are results, TABLE.png.

    Args:
        summary: Result of ``summarize_table``.
        folder: Folder to write to.

    Returns:
        The files.

    Raises:
        OSError: If a file cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction.evaluation.reproduction import (
        ...     benchmark, recipes, report, results, rows, run_log, summary
        ... )
        >>> table = rows.read_tables(rows.default_configs())['table4a_similarity']
        >>> identity = dict(preset='tiny', version=1, seed=0, fingerprint='0' * 64)
        >>> data = benchmark.Benchmark(Path('data'), identity, dict(val=16))
        >>> with tempfile.TemporaryDirectory() as folder:  # without results
        ...     found = summary.summarize_table(
        ...         table,
        ...         recipes.read_recipes(table.rows),
        ...         results.Results(Path(folder), data),
        ...         run_log.RunLog(Path(folder, 'started.jsonl')),
        ...     )
        ...     [path.name for path in report.write_report(found, Path(folder))]
        ['table4a_similarity.md', 'table4a_similarity.json']
    """
    paths = [
        folder / f'{summary["table"]}.{suffix}' for suffix in ('md', 'json', 'png')
    ]
    text, data, picture = paths
    has_figure = any(row['ours'] for row in summary['rows'])
    if has_figure:
        draw = draw_robustness if summary['table'] == ROBUSTNESS else draw_table
        with replacing(picture) as partial:
            draw(summary).savefig(partial, dpi=130, format='png')
    else:
        picture.unlink(missing_ok=True)
        paths.remove(picture)
    with replacing(data) as partial:
        content = json.dumps(summary, indent=1, ensure_ascii=False)
        partial.write_text(content + '\n', encoding='utf-8')
    with replacing(text) as partial:
        name = picture.name if has_figure else None
        partial.write_text(show_summary(summary, name), encoding='utf-8')
    return paths


def show_summary(summary: Summary, figure: str | None) -> str:
    """Format the report as Markdown.

    Args:
        summary: Result of ``summarize_table``.
        figure: Name of the figure; None if there is none.
    """
    is_robustness = summary['table'] == ROBUSTNESS
    parts = [f'# {summary["title"]}', _introduction(summary)]
    parts.append(_robustness(summary) if is_robustness else _accuracies(summary))
    if figure:
        parts.append(f'![{summary["title"]}]({figure})')
    if not is_robustness:
        if has_paper_figures(summary):
            parts += ['## Order of the rows', _rank_correlations(summary)]
        parts += ['## Splits', _splits(summary)]
        if any(row['controls'] for row in summary['rows']):
            parts += ['## Controls', _controls(summary)]
    parts += ['## Runs', _runs(summary)]
    if summary['searches']:
        parts += ['## Learning rates', _searches(summary)]
    return '\n\n'.join(parts) + '\n'


def _introduction(summary: Summary) -> str:
    benchmark = summary['benchmark']
    devices = ', '.join(summary['devices']) or 'nothing yet'
    versions = summary['versions']
    programs = ', '.join(
        f'{name} {" and ".join(versions[name])}'
        for name in ('selfy_mmaction', 'torch')
        if name in versions
    )
    return (
        f'Written by `python tools/reproduce.py {summary["table"]}`, see '
        f'docs/evidence.md. Ours: top-1 accuracy in percent on the benchmark '
        f'{benchmark["preset"]} (generator version {benchmark["version"]}, seed '
        f'{benchmark["seed"]}, fingerprint `{benchmark["fingerprint"][:16]}`), after '
        f'the last epoch, mean ± standard deviation of a seed. {summary["classes"]} '
        f'classes, chance {summary["chance"]:.1f} %; a network that sees no order of '
        f'frames reaches at most {summary["chance_of_order"]:.0f} %. Trained on: '
        f'{devices}{programs and ", with "}{programs}.'
    )


def _accuracies(summary: Summary) -> str:
    has_paper = has_paper_figures(summary)
    rows = []
    for row in summary['rows']:
        rows.append(
            [
                _label(row),
                *([show_number(row['paper'])] if has_paper else []),
                show_mean(row['ours']),
                _count(row),
                show_difference(row['difference']),
                show_large(row['parameters'], 1e3, 'k'),
                show_large(row['multiply_adds'], 1e6, 'M'),
                show_number(row['minutes']),
            ]
        )
    header = ['row', *(['paper'] if has_paper else []), f'ours, `{VAL}`', 'seeds']
    header += ['difference', 'parameters', 'multiply-adds', 'minutes']
    paper = 'Paper: top-1 accuracy on Something-Something V1. ' if has_paper else ''
    return (
        f'{show_table(header, rows)}\n\n'
        f'{paper}Difference: to the row in bold, paired by seed, in percentage points, '
        'with the 95 % interval (Student t over seeds). Multiply-adds are per clip, '
        'minutes per training with its validations.'
    )


def _robustness(summary: Summary) -> str:
    header = ['row', 'clean', 'seeds']
    for split in CORRUPTED:
        header += [f'`{split}`', 'change']
    rows = []
    for row in summary['rows']:
        cells = [_label(row), NOTHING, _count(row)]
        for split in CORRUPTED:
            found = row['corrupted'].get(split)
            if found:
                cells[1] = show_mean(found['clean'])
                cells.append(show_mean(row['splits'][split]['accuracy']))
            else:
                cells.append(NOTHING)
            cells.append(show_difference(found and found['change']))
        rows.append(cells)
    return (
        f'{show_table(header, rows)}\n\n'
        f'The rows of Table 4a. Clean: on the same clips of `{VAL}`, which are fewer '
        f'than all of it. Change: from clean, in percentage points, with the 95 % '
        f'interval (Student t over seeds). The paper shows Fig. 5 without numbers.'
    )


def _rank_correlations(summary: Summary) -> str:
    rows = []
    for name, found in summary['rank_correlations'].items():
        rows.append([name, *show_rank_correlation(found)])
    header = ['', 'rows', "Spearman's ρ", "Kendall's τ"]
    return (
        f'{show_table(header, rows)}\n\n'
        'Rank correlation of our means with the figures of the paper. p: part of the '
        'orders of the rows that agree at least as well with the paper (permutation '
        'test, one-sided).'
    )


def _splits(summary: Summary) -> str:
    header = ['row', *(f'`{split}`' for split in summary['splits'])]
    rows = [
        [
            _label(row),
            *(
                show_mean(
                    (row['splits'].get(split) or {}).get('accuracy'), spread=False
                )
                for split in summary['splits']
            ),
        ]
        for row in summary['rows']
    ]
    return f'{show_table(header, rows)}\n\nMean over seeds.'


def _controls(summary: Summary) -> str:
    tested = [row for row in summary['rows'] if row['controls']]
    names = list(tested[0]['controls'])
    header = ['row', f'`{VAL}`', *(f'`{name}`' for name in names)]
    rows = [
        [
            _label(row),
            show_mean(row['ours'], spread=False),
            *(show_mean(row['controls'].get(name), spread=False) for name in names),
        ]
        for row in tested
    ]
    return (
        f'{show_table(header, rows)}\n\n'
        f'The networks on the clips of `{VAL}` without a part of the order of their '
        'frames (transform `ControlFrames`), mean over seeds.'
    )


def _runs(summary: Summary) -> str:
    rows = [
        [
            _label(row),
            f'`{row["config"]}`',
            NOTHING if row['learning_rate'] is None else f'{row["learning_rate"]:g}',
            ', '.join(f'{seed}: {a:.1f}' for seed, a in row['accuracies'].items())
            or 'not run',
        ]
        for row in summary['rows']
    ]
    header = ['row', 'config', 'learning rate', f'`{VAL}`, by seed']
    events = summary['events']
    starts = events[STARTED] + events[RESUMED]
    ends = ', '.join(f'{events[end]} {end}' for end in (FINISHED, FAILED, INTERRUPTED))
    killed = starts - events[FINISHED] - events[FAILED] - events[INTERRUPTED]
    return (
        f'{show_table(header, rows)}\n\n'
        f'Every start of these configs, also with other learning rates: '
        f'{events[STARTED]} from scratch, {events[RESUMED]} resumed. Their ends: '
        f'{ends}, {killed} killed.'
    )


def _searches(summary: Summary) -> str:
    rows = [
        [
            search['label'],
            ', '.join(
                f'{rate}: {show_number(a)}' for rate, a in search['accuracies'].items()
            ),
            NOTHING if search['chosen'] is None else f'{search["chosen"]:g}',
        ]
        for search in summary['searches']
    ]
    header = ['row', f'`{VAL}` of seed 0, by learning rate', 'chosen']
    return (
        f'{show_table(header, rows)}\n\n'
        'The best one on seed 0 is used for all seeds; the choice favors these rows.'
    )


def _label(row: dict[str, Any]) -> str:
    label = show_text(row['label'])
    return f'**{label}**' if row['is_reference'] else label


def _count(row: dict[str, Any]) -> str:
    return str(row['ours']['seeds']) if row['ours'] else NOTHING
