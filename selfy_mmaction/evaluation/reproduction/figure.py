# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Figures of a table: the paper's accuracies beside ours, and accuracy by split."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .summary import CORRUPTED, Summary, has_paper_figures

# Okabe-Ito, which color-blind people can tell apart, without yellow on white.
_COLORS = ('#000000', '#E69F00', '#56B4E9', '#009E73', '#0072B2', '#D55E00', '#CC79A7')
_MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X')
_PAPER, _OURS = '#D55E00', '#0072B2'
_LABELS = {'val_occluded': 'occluded', 'val_blurred': 'blurred'}


def draw_table(summary: Summary) -> Figure:
    """Draw a row per network: the paper's accuracy at the left, ours at the right.

    A table without figures of the paper has only the right panel.

    Args:
        summary: Result of ``summarize_table`` with at least one result.
    """
    rows = summary['rows']
    figure = Figure(figsize=(9, 1.4 + 0.38 * len(rows)), layout='constrained')
    if has_paper_figures(summary):
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 3))
        left.set_title('paper: Something-Something V1', fontsize=9)
    else:
        left = right = figure.subplots()
    for y, row in enumerate(rows):
        if row['paper'] is not None:
            left.plot(row['paper'], y, 's', color=_PAPER)
        ours = row['ours']
        if ours is None:
            continue
        seeds = list(row['accuracies'].values())
        right.plot(seeds, [y] * len(seeds), 'o', color=_OURS, alpha=0.45, markersize=4)
        right.errorbar(
            ours['mean'],
            y,
            xerr=ours['deviation'],
            fmt='|',
            color=_OURS,
            markersize=13,
            markeredgewidth=2,
            capsize=3,
        )
    right.axvline(summary['chance'], color='black', linestyle='--', linewidth=0.8)
    right.axvline(
        summary['chance_of_order'], color='black', linestyle=':', linewidth=0.8
    )
    lines = {summary['chance_of_order']: 'without order', summary['chance']: 'chance'}
    # At two heights, as the lines may be closer to each other than a name is long.
    for y, (x, text) in zip((-0.5, -0.8), lines.items(), strict=False):
        right.text(x, y, f' {text}', fontsize=7, va='center')
    right.set_title(
        f'ours: {summary["benchmark"]["preset"]}; mean, deviation and seeds', fontsize=9
    )
    left.set_yticks(range(len(rows)), [row['label'] for row in rows], fontsize=8)
    # The names of the lines need room at the top.
    left.set_ylim(len(rows) - 0.5, -1)
    for axes in figure.axes:
        axes.set_xlabel('top-1 accuracy (%)', fontsize=9)
        axes.grid(axis='x', alpha=0.3)
        axes.tick_params(axis='x', labelsize=8)
        # Bars of deviations may be longer, but no accuracy is above 100 %.
        axes.set_xlim(0, min(1.06 * axes.get_xlim()[1], 104))
        for y in range(1, len(rows)):
            if rows[y]['group'] != rows[y - 1]['group']:
                axes.axhline(y - 0.5, color='gray', linewidth=0.8)
    for label, row in zip(left.get_yticklabels(), rows, strict=True):
        label.set_fontweight('bold' if row['is_reference'] else 'normal')
    return figure


def draw_robustness(summary: Summary) -> Figure:
    """Draw accuracy on clean and corrupted clips, one panel per group of rows.

    Args:
        summary: Result of ``summarize_table`` with at least one result.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in summary['rows']:
        if row['corrupted']:
            groups.setdefault(row['group'], []).append(row)
    count = max(1, len(groups))
    figure = Figure(figsize=(5.5 * count, 4.8), layout='constrained')
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for axes, (group, rows) in zip(panels, groups.items(), strict=False):
        for index, row in enumerate(rows):
            color, marker = (each[index % len(each)] for each in (_COLORS, _MARKERS))
            _draw_splits(axes, row, color, marker, index / max(1, len(rows) - 1))
        axes.axhline(summary['chance'], color='black', linestyle='--', linewidth=0.8)
        axes.text(
            0.01,
            summary['chance'],
            'chance',
            transform=axes.get_yaxis_transform(),
            fontsize=7,
            va='bottom',
        )
        axes.set_title(group, fontsize=10)
        axes.set_xticks(range(3), ['clean', *(_LABELS[each] for each in CORRUPTED)])
        axes.set_ylim(bottom=0)
        axes.grid(axis='y', alpha=0.3)
        # Below the panel, where it covers no row.
        axes.legend(
            fontsize=7, loc='upper center', bbox_to_anchor=(0.5, -0.08), ncols=2
        )
    panels[0].set_ylabel('top-1 accuracy (%), mean and deviation')
    return figure


def _draw_splits(
    axes: Axes, row: dict[str, Any], color: str, marker: str, place: float
) -> None:
    """Draw the accuracies of a row, a little apart from those of other rows."""
    corrupted = [row['corrupted'].get(split) for split in CORRUPTED]
    clean = next(each['clean'] for each in corrupted if each)
    values = [clean]
    values += [(row['splits'].get(split) or {}).get('accuracy') for split in CORRUPTED]
    places = [x for x, value in enumerate(values) if value]
    known = [value for value in values if value]
    axes.errorbar(
        [x + 0.2 * (place - 0.5) for x in places],
        [value['mean'] for value in known],
        yerr=[value['deviation'] or 0 for value in known],
        color=color,
        marker=marker,
        capsize=2,
        linewidth=1,
        label=row['label'],
    )
